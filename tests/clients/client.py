"""Sends HL7 files to a listener with the asyncio client of PyPI `hl7` and prints `CODE CONTROL-ID` for each answer.

client.py HOST PORT CA|- CERT|- KEY|- FILE...
"""

import asyncio
import ssl
import sys

from hl7 import parse
from hl7.mllp import open_hl7_connection


async def main(host, port, ca, cert, key, *files):
    context = None
    if ca != "-":
        context = ssl.create_default_context(cafile=ca)
        if cert != "-":
            context.load_cert_chain(cert, key)
    reader, writer = await open_hl7_connection(host, int(port), ssl=context, encoding="utf-8")
    for file in files:
        with open(file, encoding="utf-8") as opened:
            writer.writemessage(parse(opened.read().replace("\n", "\r")))
        await writer.drain()
        answer = await asyncio.wait_for(reader.readmessage(), 30)
        print(answer.segment("MSA")[1], answer.segment("MSA")[2], flush=True)
    writer.close()
    await writer.wait_closed()


asyncio.run(main(*sys.argv[1:]))
