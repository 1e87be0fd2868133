//! Peers that mean harm or are broken beside one that is honest: it loses nothing, and the host's memory stays small.
//!
//! Figures are printed; what is asserted in time is generous, because machines are shared.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use ligature::mllp::tls::{Connecting, Connector, Trust};
use ligature_tests::clinic::Clinic;
use ligature_tests::mllp::Client;
use ligature_tests::pki::Pki;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const PEERS: usize = 200;
const MESSAGES: usize = 400;
const MOST_MEMORY: u64 = 200 << 20;
const MOST_IDLE_MEMORY: u64 = 500 << 20;
const IDLE: usize = 10_000;
const IDLE_OVER_TLS: usize = 1_000;
/// The state of a TLS connection, its buffers, and its share of what the work has left in caches: measured 60 to 90 KB.
const MOST_OF_ONE_OVER_TLS: u64 = 128 << 10;

fn registration(number: usize) -> String {
    format!(
        "MSH|^~\\&|SEND|CLINIC|LIG|LSQ|20261120093000||ADT^A08|H{number}|P|2.5.1\rEVN|A08|20261120093000\r\
         PID|1||Z{number}^^^CLINIC^MR||Fenwick^Odalys||19840219|F\rPV1|1|O\r"
    )
}

/// Resident bytes of a process.
fn resident(process: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: u64 = kib.context("VmRSS in kB")?.trim().parse()?;
    Ok(kib * 1024)
}

fn process(clinic: &Clinic) -> anyhow::Result<u32> {
    Ok(clinic.host.as_ref().context("a host")?.id())
}

/// One peer of eight kinds, again and again; how it ends is its own affair.
async fn misbehave(kind: usize, to: SocketAddr) -> std::io::Result<()> {
    loop {
        let mut stream = TcpStream::connect(to).await?;
        let (bytes, pause): (Vec<u8>, _) = match kind % 8 {
            // Slow: a byte at a time, never an end.
            0 => (
                b"\x0bMSH|^~\\&|SLOW".to_vec(),
                Some(Duration::from_millis(50)),
            ),
            // Half a message, then silence.
            1 => ([b"\x0bMSH|", [b'x'; 20_000].as_slice()].concat(), None),
            // Noise.
            2 => (
                (0..3_000_u32)
                    .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x20)
                    .collect(),
                None,
            ),
            3 => (
                b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n".to_vec(),
                None,
            ),
            4 => (
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
                None,
            ),
            // A hoarder: most of a large frame, then silence.
            5 => ([b"\x0bMSH|", vec![b'x'; 900_000].as_slice()].concat(), None),
            // Endless.
            6 => (b"\x0bMSH|".to_vec(), Some(Duration::ZERO)),
            // A port scan.
            _ => (Vec::new(), None),
        };
        let misbehaving = async {
            stream.write_all(&bytes).await?;
            let chunk = if kind % 8 == 6 {
                vec![b'x'; 64 * 1024]
            } else {
                vec![b'x']
            };
            while let Some(pause) = pause {
                stream.write_all(&chunk).await?;
                sleep(pause).await;
            }
            if kind % 8 == 7 {
                sleep(Duration::from_millis(20)).await;
                return Ok(());
            }
            // Until the host hangs up.
            let mut sink = [0; 64];
            while stream.read(&mut sink).await? > 0 {}
            std::io::Result::Ok(())
        };
        let _ = misbehaving.await;
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_sender_beside_hostile_peers_loses_nothing() -> anyhow::Result<()> {
    let clinic = Clinic::of_registrations("frame_timeout_ms = 2000").await?;
    let process = process(&clinic)?;
    let to = clinic.site.mllp;
    let mut client = Client::connect(to).await?;
    let alone = honest(&mut client, 0, MESSAGES / 4).await?;

    let mut peers = JoinSet::new();
    for kind in 0..PEERS {
        peers.spawn(misbehave(kind, to));
    }
    let mut most = 0;
    let watch = async {
        loop {
            most = most.max(resident(process)?);
            sleep(Duration::from_millis(50)).await;
        }
        #[expect(unreachable_code, reason = "gives the block its type")]
        anyhow::Ok(())
    };
    let send = async {
        let mut times = Vec::new();
        // Long enough for frame time-outs to strike, more than once.
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(10) {
            let sent = MESSAGES / 4 + times.len();
            times.extend(honest(&mut client, sent, 20).await?);
        }
        anyhow::Ok(times)
    };
    let mut times = tokio::select! {
        times = send => times?,
        watched = watch => anyhow::bail!("the host is gone: {watched:?}"),
    };
    peers.shutdown().await;
    let quantile = |times: &mut Vec<Duration>, share: f64| {
        times.sort_unstable();
        times[((times.len() - 1) as f64 * share) as usize]
    };
    let mut alone = alone;
    ligature_tests::say(&format!(
        "beside {PEERS} hostile peers: {} messages, all acknowledged, p50 {:?}, p99 {:?} (alone p50 {:?}, p99 {:?}), memory at most {} MB",
        times.len(),
        quantile(&mut times, 0.5),
        quantile(&mut times, 0.99),
        quantile(&mut alone, 0.5),
        quantile(&mut alone, 0.99),
        most >> 20,
    ));
    ensure!(most < MOST_MEMORY, "{} MB resident", most >> 20);
    let p99 = quantile(&mut times, 0.99);
    ensure!(p99 < Duration::from_secs(2), "p99 {p99:?}");
    let log = clinic.site.log()?;
    for said in [
        "mllp-frame-timed-out",
        "a TLS hello came to a plain MLLP port",
        "mllp-noise-before-frame",
    ] {
        ensure!(log.contains(said), "{said} is not in the log");
    }
    Ok(())
}

/// Whole, well formed, and about a quarter of a million identifiers or patients.
#[tokio::test(flavor = "multi_thread")]
async fn identifiers_without_end_hold_nobody_up() -> anyhow::Result<()> {
    let clinic = Clinic::of_registrations("").await?;
    let to = clinic.site.mllp;
    let message = |number: usize, rest: &str| {
        let honest = registration(number);
        let header = honest.split("PID|").next().unwrap_or_default();
        format!("{header}{rest}")
    };
    let ids: Vec<String> = (0..250_000).map(|id| format!("Z{id}")).collect();
    let identifiers = message(1, &format!("PID|1||{}\rPV1|1|O\r", ids.join("~")));
    let patients: String = (0..100_000)
        .map(|id| format!("PID|1||Z{id}^^^CLINIC^MR\r"))
        .collect();
    let patients = message(2, &patients);
    let mut senders = JoinSet::new();
    for text in [identifiers, patients] {
        senders.spawn(async move {
            let answer = Client::connect(to).await?.exchange(text.as_bytes()).await?;
            anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
        });
    }
    let mut client = Client::connect(to).await?;
    let times = timeout(Duration::from_secs(60), honest(&mut client, 10, 20)).await??;
    ensure!(times.len() == 20);
    let answers = timeout(Duration::from_secs(60), senders.join_all()).await?;
    let answers = answers.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    for said in [["MSA|AA|H1", ""], ["MSA|AR|H2", "too many patients"]] {
        let is_said = |answer: &String| said.iter().all(|part| answer.contains(part));
        ensure!(answers.iter().any(is_said), "{said:?}: {answers:?}");
    }
    Ok(())
}

/// Sends messages one after the other; each must be acknowledged under its own control id.
async fn honest(client: &mut Client, first: usize, count: usize) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(count);
    for number in first..first + count {
        let started = Instant::now();
        let answer = client.exchange(registration(number).as_bytes()).await?;
        times.push(started.elapsed());
        let expected = format!("MSA|AA|H{number}\r");
        ensure!(
            String::from_utf8_lossy(&answer).contains(&expected),
            "message {number} was not acknowledged"
        );
    }
    Ok(times)
}

/// How many files this process and the host may each have open; the limit is raised where it may be.
fn most_files() -> anyhow::Result<usize> {
    let read = || -> anyhow::Result<(usize, usize)> {
        let limits = std::fs::read_to_string("/proc/self/limits")?;
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"));
        let mut words = line.context("a limit")?.split_whitespace();
        let mut number = || {
            words
                .next()
                .map_or(Ok(0), |word| word.parse().or(Ok(1 << 20)))
        };
        let (soft, hard) = (number(), number());
        soft.and_then(|soft| Ok((soft, hard?)))
    };
    let (soft, hard) = read()?;
    if soft < hard {
        // util-linux; where it is missing the limit stays as it is, and the test says how far it got.
        let _ = std::process::Command::new("prlimit")
            .args(["--pid", &std::process::id().to_string()])
            .arg(format!("--nofile={hard}:{hard}"))
            .status();
    }
    Ok(read()?.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_take_little_memory() -> anyhow::Result<()> {
    let files = most_files()?;
    // What other tests of this process have open at the same time stays free.
    let count = IDLE.min(files.saturating_sub(2_000));
    if count < IDLE {
        ligature_tests::say(&format!(
            "the limit of {files} open files allows {count} instead of {IDLE} idle connections"
        ));
    }
    ensure!(
        count > 500,
        "a limit of {files} open files is too low for this test"
    );
    let clinic = Clinic::of_registrations("max_connections = 20000").await?;
    let process = process(&clinic)?;
    let before = resident(process)?;
    let mut idle = Vec::with_capacity(count);
    while idle.len() < count {
        // An address of its own has all its ports free.
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 2], 0)))?;
        let stream = timeout(Duration::from_secs(30), socket.connect(clinic.site.mllp)).await??;
        idle.push(stream);
    }
    // Accepted in order: who comes last is answered when all the others are in. A tenth of them has been at work.
    let mut client = Client::connect(clinic.site.mllp).await?;
    honest(&mut client, 0, 1).await?;
    for (number, stream) in idle.iter_mut().take(count / 10).enumerate() {
        let message = format!("\x0b{}\x1c\r", registration(number + 1));
        stream.write_all(message.as_bytes()).await?;
    }
    for stream in idle.iter_mut().take(count / 10) {
        let mut answer = [0; 4096];
        let length = timeout(Duration::from_secs(60), stream.read(&mut answer)).await??;
        ensure!(
            answer[..length].windows(7).any(|part| part == b"MSA|AA|"),
            "no answer"
        );
    }
    let with = resident(process)?;
    ligature_tests::say(&format!(
        "{count} idle connections: {} MB resident, {} MB without, {} bytes each",
        with >> 20,
        before >> 20,
        with.saturating_sub(before) / count as u64,
    ));
    ensure!(with < MOST_IDLE_MEMORY, "{} MB resident", with >> 20);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_leaves_connections_to_others() -> anyhow::Result<()> {
    let settings = "max_connections = 4\nmax_connections_of_one = 2";
    let clinic = Clinic::of_registrations(settings).await?;
    let from = async |address: [u8; 4]| {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((address, 0)))?;
        anyhow::Ok(socket.connect(clinic.site.mllp).await?)
    };
    let crowd = [127, 0, 0, 2];
    let (first, _second) = (from(crowd).await?, from(crowd).await?);
    let mut third = from(crowd).await?;
    let read = timeout(Duration::from_secs(60), third.read(&mut [0; 1])).await?;
    ensure!(!matches!(read, Ok(1..)), "the third is served");
    clinic
        .site
        .says("its address has as many connections")
        .await?;
    // Somebody else is served, and a place that was left is free again.
    let mut client = Client::connect(clinic.site.mllp).await?;
    honest(&mut client, 0, 1).await?;
    drop(first);
    let started = Instant::now();
    loop {
        let mut again = from(crowd).await?;
        let message = format!("\x0b{}\x1c\r", registration(1));
        let mut answer = [0; 4096];
        if again.write_all(message.as_bytes()).await.is_ok()
            && let Ok(1..) = again.read(&mut answer).await
        {
            return Ok(());
        }
        ensure!(
            started.elapsed() < Duration::from_secs(60),
            "no place is free"
        );
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_over_tls_take_little_memory() -> anyhow::Result<()> {
    let files = most_files()?;
    ensure!(
        files > IDLE_OVER_TLS + 2_000,
        "a limit of {files} open files is too low for this test"
    );
    let pki = Pki::new()?;
    let clinic = Clinic::of_registrations(&format!(
        "max_connections_of_one = 1024\ntls = {{ certificate = {:?}, key = {:?} }}",
        pki.path("listener.pem"),
        pki.path("listener.key"),
    ))
    .await?;
    let connector = Connector::load(&Connecting {
        trust: Trust {
            authorities: Some(pki.path("ca.pem")),
            pinned: Vec::new(),
        },
        ..Connecting::default()
    })?;
    let connect = async || -> anyhow::Result<_> {
        let stream = TcpStream::connect(clinic.site.mllp).await?;
        Ok(connector.connect("localhost", stream).await?)
    };
    let process = process(&clinic)?;
    // What the first connections bring about for good is not counted.
    let mut idle = vec![connect().await?, connect().await?];
    exchange(&mut idle[0], registration(0)).await?;
    let before = resident(process)?;
    while idle.len() < IDLE_OVER_TLS {
        idle.push(timeout(Duration::from_secs(30), connect()).await??);
    }
    // Each has been at work, with a message larger than one record of TLS.
    let mut at_work = JoinSet::new();
    for (number, mut stream) in idle.into_iter().enumerate() {
        let message = format!(
            "{}NTE|1||{}\r",
            registration(number + 1),
            "x".repeat(20_000)
        );
        at_work.spawn(async move { exchange(&mut stream, message).await.map(|()| stream) });
    }
    let idle = at_work.join_all().await;
    let idle: Vec<_> = idle.into_iter().collect::<anyhow::Result<_>>()?;
    let with = resident(process)?;
    let each = with.saturating_sub(before) / idle.len() as u64;
    ligature_tests::say(&format!(
        "{} idle connections over TLS: {} MB resident, {} MB with two, {each} bytes each",
        idle.len(),
        with >> 20,
        before >> 20,
    ));
    ensure!(each < MOST_OF_ONE_OVER_TLS, "{each} bytes each");
    Ok(())
}

/// Sends one message and waits for its positive answer.
async fn exchange<S>(stream: &mut S, message: String) -> anyhow::Result<()>
where
    S: AsyncReadExt + AsyncWriteExt + Unpin,
{
    stream
        .write_all(format!("\x0b{message}\x1c\r").as_bytes())
        .await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\x1c\r") {
        let read = timeout(Duration::from_secs(60), stream.read_buf(&mut answer)).await??;
        ensure!(read > 0, "the listener closed the connection");
    }
    ensure!(
        answer.windows(7).any(|part| part == b"MSA|AA|"),
        "no positive answer"
    );
    Ok(())
}
