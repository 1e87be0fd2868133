// An identity provider: npm `oidc-provider`, a certified implementation of OpenID Connect. Prints its port when it listens.
//
// provider.cjs PORT REDIRECT-URI ACCOUNTS-JSON IN-TOKEN
//
// ACCOUNTS-JSON: {"SUBJECT": {"email": "…", "email_verified": true}}; one signs in by typing a subject and any password.
// IN-TOKEN: `true` puts the mail address into the id token, otherwise only the userinfo endpoint tells it.

const path = require("node:path");

const [port, redirect, accounts, inToken] = process.argv.slice(2);
const known = JSON.parse(accounts);

async function main() {
  const folder = process.env.NODE_PATH;
  const { Provider } = await import(path.join(folder, "oidc-provider/lib/index.js"));
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    clients: [{ client_id: "ligature", client_secret: "odd: secret+of/ours", redirect_uris: [redirect] }],
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
    conformIdTokenClaims: inToken !== "true",
    findAccount: (_context, id) => known[id] && { accountId: id, claims: () => ({ sub: id, ...known[id] }) },
  });
  provider.listen(Number(port), "127.0.0.1", () => console.log(port));
}

main().catch((fault) => {
  console.error(fault);
  process.exit(1);
});
