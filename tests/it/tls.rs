//! TLS between our sender and our listener: who is trusted, who is not, and certificates that change.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use ligature::mllp::listener::{self, Access, Limits, Received, Reply};
use ligature::mllp::sender::{Link, Match, Target, Timeouts};
use ligature::mllp::tls::{
    Acceptor, ClientCertificates, Connecting, Connector, Facts, Identity, Listening, Oldest, Trust,
};
use ligature_tests::pki::Pki;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// A listener that echoes, and the subjects that its peers showed.
struct Echo {
    address: SocketAddr,
    acceptor: Arc<Acceptor>,
    subjects: Arc<Mutex<Vec<Option<String>>>>,
    _guard: DropGuard,
}

fn identity(pki: &Pki, name: &str) -> Identity {
    Identity {
        certificate: pki.path(&format!("{name}.pem")),
        key: pki.path(&format!("{name}.key")),
    }
}

fn listening(pki: &Pki, clients: ClientCertificates) -> Listening {
    Listening {
        identity: identity(pki, "listener"),
        clients,
        oldest: Oldest::Tls12,
    }
}

async fn echo(settings: Listening) -> anyhow::Result<Echo> {
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    let acceptor = Arc::new(Acceptor::load(settings)?);
    let access = Access {
        tls: Some(acceptor.clone()),
        ..Access::default()
    };
    let subjects = Arc::new(Mutex::new(Vec::new()));
    let seen = subjects.clone();
    let receive = move |received: Received| {
        let subject = received.peer_subject.map(|subject| subject.to_string());
        seen.lock().unwrap().push(subject);
        std::future::ready(Reply {
            answers: vec![received.payload],
            ..Reply::default()
        })
    };
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let serving = listener::serve(
        socket,
        Limits::default(),
        access,
        receive,
        tracker.clone(),
        stop.clone(),
    );
    tracker.spawn(serving);
    Ok(Echo {
        address,
        acceptor,
        subjects,
        _guard: stop.drop_guard(),
    })
}

fn link(to: SocketAddr, settings: &Connecting) -> anyhow::Result<(Link<()>, Connector)> {
    let tls = Connector::load(settings)?;
    let target = Target {
        address: to.to_string(),
        tls: Some(tls.clone()),
        timeouts: Timeouts::default(),
    };
    Ok((Link::new(target, 1), tls))
}

/// Sends one payload and says what came of it.
async fn send(link: &mut Link<()>) -> String {
    let settled = link.send((), b"hello", |(), _| Match::Final).await;
    match settled.result {
        Ok(answer) => String::from_utf8_lossy(&answer).into_owned(),
        Err(error) => error.to_string(),
    }
}

async fn once(to: &Echo, settings: Connecting) -> anyhow::Result<String> {
    Ok(send(&mut link(to.address, &settings)?.0).await)
}

fn by_authority(pki: &Pki) -> Connecting {
    Connecting {
        trust: Trust {
            authorities: Some(pki.path("ca.pem")),
            pinned: Vec::new(),
        },
        ..Connecting::default()
    }
}

fn pin(pki: &Pki, name: &str) -> anyhow::Result<Vec<ligature::mllp::tls::Fingerprint>> {
    let settings = Listening {
        identity: identity(pki, name),
        clients: ClientCertificates::None,
        oldest: Oldest::Tls12,
    };
    let facts = Acceptor::load(settings)?.certificates();
    Ok(facts.iter().map(|facts| facts.sha256).collect())
}

#[tokio::test]
async fn a_listener_is_trusted_by_authority_and_name_or_by_its_pin() -> anyhow::Result<()> {
    let pki = Pki::new()?;
    let echo = echo(listening(&pki, ClientCertificates::None)).await?;
    assert_eq!(once(&echo, by_authority(&pki)).await?, "hello");
    let named = |name: &str| Connecting {
        server_name: Some(name.to_owned()),
        ..by_authority(&pki)
    };
    assert_eq!(once(&echo, named("localhost")).await?, "hello");
    let wrong = once(&echo, named("other.example.org")).await?;
    assert!(wrong.contains("not valid for name"), "{wrong}");
    assert!(link(echo.address, &named("a b")).is_err());

    let strangers = Pki::new()?;
    let wrong = once(&echo, by_authority(&strangers)).await?;
    assert!(wrong.contains("invalid peer certificate"), "{wrong}");

    let pinned = |pinned| Connecting {
        trust: Trust {
            authorities: None,
            pinned,
        },
        server_name: Some("whatever.example.org".to_owned()),
        ..Connecting::default()
    };
    assert_eq!(once(&echo, pinned(pin(&pki, "listener")?)).await?, "hello");
    let wrong = once(&echo, pinned(pin(&pki, "stranger")?)).await?;
    assert!(wrong.starts_with("TLS with 127.0.0.1:"), "{wrong}");
    Ok(())
}

#[tokio::test]
async fn a_sender_shows_its_certificate_where_it_must() -> anyhow::Result<()> {
    let pki = Pki::new()?;
    let trust = Trust {
        authorities: Some(pki.path("ca.pem")),
        pinned: pin(&pki, "stranger")?,
    };
    let showing = |name: &str| Connecting {
        identity: Some(identity(&pki, name)),
        ..by_authority(&pki)
    };
    let required = echo(listening(&pki, ClientCertificates::Require(trust.clone()))).await?;
    assert_eq!(once(&required, showing("sender")).await?, "hello");
    assert_eq!(once(&required, showing("stranger")).await?, "hello");
    let none = once(&required, by_authority(&pki)).await?;
    assert_ne!(none, "hello");
    let others = Pki::new()?;
    let other = Connecting {
        identity: Some(identity(&others, "sender")),
        ..by_authority(&pki)
    };
    assert_ne!(once(&required, other.clone()).await?, "hello");
    let subjects = required.subjects.lock().unwrap().clone();
    let subjects: Vec<&str> = subjects.iter().flatten().map(String::as_str).collect();
    assert!(
        matches!(subjects[..], [one, two] if one.contains("CN=sender") && two.contains("CN=stranger")),
        "{subjects:?}"
    );

    let wanted = echo(listening(&pki, ClientCertificates::Want(trust))).await?;
    assert_eq!(once(&wanted, by_authority(&pki)).await?, "hello");
    assert_eq!(once(&wanted, showing("sender")).await?, "hello");
    assert_ne!(once(&wanted, other).await?, "hello");
    assert_eq!(wanted.subjects.lock().unwrap()[0], None);

    let nobody = listening(&pki, ClientCertificates::Require(Trust::default()));
    let error = Acceptor::load(nobody).unwrap_err().to_string();
    assert!(
        error.contains("neither an authority nor a pinned"),
        "{error}"
    );
    Ok(())
}

/// A pin says "this very certificate": its key is what the peer proves to have, and that does not age. An interface that
/// stops at midnight because nobody renewed a certificate harms patients; who signs certificates for others is another
/// matter, and what an authority signed is good for as long as it says.
#[tokio::test]
async fn an_expired_certificate_is_trusted_by_its_pin_alone() -> anyhow::Result<()> {
    let pki = Pki::new()?;
    pki.issue_expired("old")?;
    let showing = Connecting {
        identity: Some(identity(&pki, "old")),
        ..by_authority(&pki)
    };
    let signed = Trust {
        authorities: Some(pki.path("ca.pem")),
        pinned: Vec::new(),
    };
    let pinned = Trust {
        pinned: pin(&pki, "old")?,
        ..signed.clone()
    };
    for (clients, expected) in [
        (ClientCertificates::Require(signed.clone()), false),
        (ClientCertificates::Want(signed), false),
        (ClientCertificates::Require(pinned.clone()), true),
        (ClientCertificates::Want(pinned), true),
    ] {
        let said = format!("{clients:?}");
        let echo = echo(listening(&pki, clients)).await?;
        let taken = once(&echo, showing.clone()).await? == "hello";
        assert_eq!(taken, expected, "{said}");
    }

    // The same for a listener whose certificate has expired.
    let old = Listening {
        identity: identity(&pki, "old"),
        clients: ClientCertificates::None,
        oldest: Oldest::Tls12,
    };
    let echo = echo(old).await?;
    let refused = once(&echo, by_authority(&pki)).await?;
    assert!(refused.contains("invalid peer certificate"), "{refused}");
    let pinned = Connecting {
        trust: Trust {
            authorities: None,
            pinned: pin(&pki, "old")?,
        },
        ..Connecting::default()
    };
    assert_eq!(once(&echo, pinned).await?, "hello");
    Ok(())
}

#[tokio::test]
async fn certificates_change_and_connections_go_on() -> anyhow::Result<()> {
    let pki = Pki::new()?;
    let echo = echo(listening(&pki, ClientCertificates::None)).await?;
    let settings = by_authority(&pki);
    let (mut open, _) = link(echo.address, &settings)?;
    assert_eq!(send(&mut open).await, "hello");
    let former: Vec<Facts> = echo.acceptor.certificates();
    assert!(former[0].subject.contains("CN=listener"), "{former:?}");
    assert_eq!(former[0].names, ["localhost", "127.0.0.1"]);
    assert!(!echo.acceptor.reload()?, "nothing has changed");

    // Half a change is refused, and what was in force stays so.
    std::fs::write(pki.path("listener.pem"), "no certificate")?;
    touch(&pki, 1)?;
    let error = echo.acceptor.reload().unwrap_err().to_string();
    assert!(error.contains("listener.pem"), "{error}");
    assert_eq!(once(&echo, settings.clone()).await?, "hello");

    pki.issue("listener", &["localhost", "127.0.0.1"])?;
    touch(&pki, 2)?;
    assert!(echo.acceptor.reload()?);
    let current = echo.acceptor.certificates();
    assert_ne!(current[0].sha256, former[0].sha256);
    assert_eq!(
        send(&mut open).await,
        "hello",
        "the open connection goes on"
    );
    let (mut next, connector) = link(echo.address, &settings)?;
    assert_eq!(send(&mut next).await, "hello");
    assert_eq!(connector.seen()[0].sha256, current[0].sha256);
    Ok(())
}

/// Gives the listener's certificate another modification time, however coarse the file system's clock is.
fn touch(pki: &Pki, seconds: u64) -> anyhow::Result<()> {
    let file = std::fs::File::options()
        .append(true)
        .open(pki.path("listener.pem"))?;
    let time = std::time::SystemTime::now() + std::time::Duration::from_secs(seconds);
    Ok(file.set_modified(time)?)
}

#[tokio::test]
async fn both_versions_are_spoken_and_no_older_one() -> anyhow::Result<()> {
    let pki = Pki::new()?;
    let both = echo(listening(&pki, ClientCertificates::None)).await?;
    let new = Listening {
        oldest: Oldest::Tls13,
        ..listening(&pki, ClientCertificates::None)
    };
    let new = echo(new).await?;
    let mut roots = rustls::RootCertStore::empty();
    use rustls::pki_types::pem::PemObject;
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(
        pki.path("ca.pem"),
    )?)?;
    let shake = async |to: SocketAddr, version| -> anyhow::Result<bool> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])?
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = tokio::net::TcpStream::connect(to).await?;
        Ok(connector
            .connect("localhost".try_into()?, stream)
            .await
            .is_ok())
    };
    let (v12, v13) = (&rustls::version::TLS12, &rustls::version::TLS13);
    assert!(shake(both.address, v12).await?);
    assert!(shake(both.address, v13).await?);
    assert!(!shake(new.address, v12).await?);
    assert!(shake(new.address, v13).await?);
    Ok(())
}
