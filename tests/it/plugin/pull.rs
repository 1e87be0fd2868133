//! A component comes from a registry: what is checked, who is told the password, and what is said where it fails.

use std::path::Path;
use std::process::Command;

use anyhow::ensure;
use ligature::flow::Digest;
use ligature::mapping::gate::MAX_FILE_BYTES;
use ligature::mapping::signature::SigningKey;
use ligature_tests::clinic::{Clinic, Setup, UNLIMITED, unlimited};
use ligature_tests::pki::Pki;
use ligature_tests::registry::{Content, Push, Registry, Wants, blob_path};
use ligature_tests::{guests, ligature_binary};
use serde_json::json;

const REPOSITORY: &str = "vendor/appointments";

/// Where a user is who pulls.
struct User {
    folder: tempfile::TempDir,
    login: &'static [(&'static str, &'static str)],
}

/// The login that the registry of the tests knows.
const KNOWN: &[(&str, &str)] = &[
    ("LIGATURE_REGISTRY_USER", "clinic"),
    ("LIGATURE_REGISTRY_PASSWORD", "s3cret"),
];

impl User {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
            login: &[],
        })
    }

    fn knowing(login: &'static [(&'static str, &'static str)]) -> anyhow::Result<Self> {
        Ok(Self {
            login,
            ..Self::new()?
        })
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `ligature plugin` and gives what it said; the word of it must be there.
    fn runs(&self, args: &[&str], code: i32, part: &str) -> anyhow::Result<String> {
        let mut command = Command::new(ligature_binary());
        command.arg("plugin").args(args).current_dir(self.folder());
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            command.env_remove(name);
        }
        let output = command.envs(self.login.iter().copied()).output()?;
        let said = String::from_utf8([output.stdout, output.stderr].concat())?;
        let status = output.status.code();
        ensure!(
            status == Some(code) && said.contains(part),
            "{args:?}: {status:?} {said}\nis not {code} {part:?}"
        );
        ensure!(!said.contains("s3cret"), "{said}");
        Ok(said)
    }

    fn pulls(&self, reference: &str, code: i32, part: &str) -> anyhow::Result<String> {
        self.runs(&["pull", reference], code, part)
    }

    /// Nothing came to lie in the folder.
    fn has_nothing(&self) -> anyhow::Result<()> {
        let left = std::fs::read_dir(self.folder())?.count();
        ensure!(left == 0, "{left} files were left");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_comes_with_its_signature_and_goes_to_a_host() -> anyhow::Result<()> {
    let component = guests::example("rust-appointments");
    let key = SigningKey::generate()?;
    let signature = key.sign(&Digest::of(&component)).to_string();
    let registry = Registry::start().await?;
    let push = Push {
        annotations: json!({ "ligature.component.signature": signature }),
        ..Push::new(&component)
    };
    let manifest = registry.push(REPOSITORY, "1.2.0", &push);
    let at = registry.address;
    let pinned = format!("{at}/{REPOSITORY}@sha256:{manifest}");
    let user = User::new()?;
    let tag = format!("{at}/{REPOSITORY}:1.2.0");
    let said = user.pulls(&tag, 0, "appointments.wasm")?;
    for part in [&pinned, &format!("signed by {}", key.public())] {
        ensure!(said.contains(part.as_str()), "{part} is not in {said}");
    }
    ensure!(std::fs::read(user.folder().join("appointments.wasm"))? == component);
    user.pulls(&tag, 1, "appointments.wasm is there already")?;

    // By its digest, to another file, with the key that must have signed it.
    let own = key.public();
    let args = ["pull", &pinned, "--output", "pinned.wasm", "--key", &own];
    user.runs(&args, 0, "pinned.wasm")?;
    user.runs(
        &["verify", "pinned.wasm", "--key", &own],
        0,
        "is signed with",
    )?;
    let other = SigningKey::generate()?.public();
    let args = ["pull", &pinned, "--output", "no.wasm", "--key", &other];
    user.runs(&args, 1, "which is none of those given")?;

    // What came goes to a host that takes signed components only.
    let setup = Setup {
        account: UNLIMITED,
        channel: "",
        leads: &["ADT^A04"],
        activities: &[],
    };
    let mut clinic = Clinic::prepare(None, unlimited(), setup).await?;
    let api = clinic.site.token("view,publish,administer")?;
    clinic.host = Some(clinic.site.start().await?);
    let account = "/api/v1/accounts/clinic";
    let mut changed = api.get(account).await?.expect(200)?;
    changed["account"]["components"] = json!({
        "signed_only": true,
        "trusted_keys": [{ "name": "Example Inc.", "key": own }],
    });
    api.put(account, changed).await?.expect(200)?;
    let mut upload = Command::new(ligature_binary());
    upload
        .args(["plugin", "upload", "pinned.wasm", "--account", "clinic"])
        .args(["--to", &format!("http://{}", clinic.site.http)])
        .env("LIGATURE_TOKEN", api.bearer())
        .current_dir(user.folder());
    let output = tokio::task::spawn_blocking(move || upload.output()).await??;
    let said = String::from_utf8([output.stdout, output.stderr].concat())?;
    ensure!(said.contains("signed by Example Inc."), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_read_is_asked_as_the_registry_wants() -> anyhow::Result<()> {
    let component = guests::example("rust-appointments");
    let registry = Registry::start().await?;
    registry.push(REPOSITORY, "1", &Push::new(&component));
    let at = registry.address;
    let reference = format!("{at}/{REPOSITORY}:1");
    for wants in [Wants::Password, Wants::Token(registry.realm())] {
        registry.wants(wants.clone());
        let nobody = User::new()?;
        nobody.pulls(
            &reference,
            1,
            "wants a login for vendor/appointments: give --login",
        )?;
        nobody.has_nothing()?;
        let stranger = User::knowing(&[
            ("LIGATURE_REGISTRY_USER", "clinic"),
            ("LIGATURE_REGISTRY_PASSWORD", "another"),
        ])?;
        stranger.pulls(&reference, 1, "does not let this login read")?;
        registry.asked();
        User::knowing(KNOWN)?.pulls(&reference, 0, "not signed")?;
        let asked = registry.asked();
        let by_password = asked.iter().filter(|line| line.contains(" Basic "));
        let by_password: Vec<_> = by_password.collect();
        match &wants {
            Wants::Token(_) => ensure!(
                by_password.len() == 1
                    && by_password[0].starts_with(
                        "/token?scope=repository%3Avendor%2Fappointments%3Apull&service=registry "
                    ),
                "{asked:?}"
            ),
            _ => ensure!(by_password.len() == 2, "{asked:?}"),
        }
        ensure!(asked.len() <= 4, "{asked:?}");
    }
    // A token of the user's own, and the file of another tool.
    let own: &[_] = &[("LIGATURE_REGISTRY_TOKEN", "pull-token")];
    User::knowing(own)?.pulls(&reference, 0, "not signed")?;
    let user = User::new()?;
    let logins = json!({ "auths": { at.to_string(): { "auth": "Y2xpbmljOnMzY3JldA==" } } });
    std::fs::write(user.folder().join("logins.json"), logins.to_string())?;
    let args = ["pull", &reference, "--login", "logins.json"];
    user.runs(&args, 0, "not signed")?;
    let half: &[_] = &[("LIGATURE_REGISTRY_USER", "clinic")];
    User::knowing(half)?.pulls(&reference, 1, "set LIGATURE_REGISTRY_USER and")?;
    // A place of tokens that would have the password over plain HTTP.
    let elsewhere = "http://tokens.example.org/token".to_owned();
    registry.wants(Wants::Token(elsewhere));
    let said = "would have logins sent to tokens.example.org over plain HTTP";
    User::knowing(KNOWN)?.pulls(&reference, 1, said)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_may_send_on_but_learns_nothing_by_it() -> anyhow::Result<()> {
    let component = guests::example("rust-appointments");
    let (registry, store) = (Registry::start().await?, Registry::start().await?);
    registry.push(REPOSITORY, "1", &Push::new(&component));
    registry.wants(Wants::Password);
    store.put("/store/1", Content::of(component.clone()));
    let blob = blob_path(REPOSITORY, &component);
    let send_to = |address: &str| registry.put(&blob, Content::elsewhere(address));
    send_to(&format!("http://{}/store/1?signed=x", store.address));
    let reference = format!("{}/{REPOSITORY}:1", registry.address);
    User::knowing(KNOWN)?.pulls(&reference, 0, "not signed")?;
    ensure!(store.asked() == ["/store/1?signed=x"]);

    send_to("http://files.example.org/store/1");
    let user = User::knowing(KNOWN)?;
    user.pulls(&reference, 1, "sends on to where nothing is fetched from")?;
    send_to(&format!("http://{}{blob}", registry.address));
    user.pulls(&reference, 1, "it sends on without end")?;
    user.has_nothing()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_what_it_should_be_is_not_kept() -> anyhow::Result<()> {
    let component = guests::example("rust-appointments");
    let registry = Registry::start().await?;
    let at = registry.address;
    let user = User::new()?;
    let check = |tag: &str, part: &str| -> anyhow::Result<()> {
        user.pulls(&format!("{at}/{REPOSITORY}:{tag}"), 1, part)?;
        user.has_nothing()
    };
    let push = Push::new(&component);
    let digest = registry.push(REPOSITORY, "1", &push);
    check(
        "2",
        "or does not show it without a login: check name and version",
    )?;

    // The manifest is another than was pinned, or than the registry says itself.
    let changed = Push {
        annotations: json!({ "changed": "yes" }),
        ..push.clone()
    };
    let other = Content::of(changed.manifest().to_string().into_bytes());
    let pinned = format!("/v2/{REPOSITORY}/manifests/sha256:{digest}");
    registry.put(&pinned, other.clone());
    let reference = format!("{at}/{REPOSITORY}@sha256:{digest}");
    user.pulls(
        &reference,
        1,
        "it was changed in the registry or on the way",
    )?;
    let lying = Content {
        headers: vec![("docker-content-digest", format!("sha256:{digest}"))],
        ..other
    };
    registry.put(&format!("/v2/{REPOSITORY}/manifests/1"), lying);
    check("1", "it was changed in the registry or on the way")?;

    // So is the component, by a byte, or it goes on and on.
    let digest = registry.push(REPOSITORY, "1", &push);
    let blob = blob_path(REPOSITORY, &component);
    let mut bytes = component.clone();
    bytes[0] ^= 1;
    registry.put(&blob, Content::of(bytes));
    check("1", "as the component is sha256:")?;
    registry.put(&blob, Content::of(component.repeat(2)));
    check("1", "gives more than the")?;
    registry.put(&blob, Content::of(component[1..].to_vec()));
    check("1", "as the component is sha256:")?;
    registry.put(&blob, Content::failing(503));
    check("1", "is in trouble (503")?;
    registry.put(&blob, Content::failing(429));
    check("1", "has been asked too often: try again later")?;

    // No component, or none that a host takes.
    let text = Push {
        media_type: "text/plain",
        ..push.clone()
    };
    registry.push(REPOSITORY, "text", &text);
    check(
        "text",
        "holds no component, but text/plain: it must be pushed as application/wasm",
    )?;
    let mut two = push.manifest();
    let layer = two["layers"][0].clone();
    two["layers"] = json!([layer, layer]);
    registry.manifest(REPOSITORY, "two", &two);
    check("two", "holds 2 components: a reference must hold one")?;
    let index = json!({ "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [] });
    registry.manifest(REPOSITORY, "index", &index);
    check("index", "is a list of images for several machines")?;
    registry.push(REPOSITORY, "core", &Push::new(b"\0asm\x01\0\0\0"));
    check("core", "a core module, not a component")?;
    let mut large = push.manifest();
    large["layers"][0]["size"] = (MAX_FILE_BYTES + 1).into();
    registry.manifest(REPOSITORY, "large", &large);
    check("large", "ask its vendor for a smaller one")?;
    let page = Content::of(b"<html>Sign in to the guest network</html>".to_vec());
    registry.put(&format!("/v2/{REPOSITORY}/manifests/page"), page);
    check("page", "does a proxy answer in its place?")?;
    let endless = Content::of(vec![b' '; 5 * 1024 * 1024]);
    registry.put(&format!("/v2/{REPOSITORY}/manifests/endless"), endless);
    check("endless", "is longer than any can be")?;

    // A signature of something else.
    let other = SigningKey::generate()?.sign(&digest).to_string();
    let signed = Push {
        annotations: json!({ "ligature.component.signature": other }),
        ..push
    };
    registry.push(REPOSITORY, "signed", &signed);
    check("signed", "the signature is not of this component")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_reached_over_tls_a_proxy_or_as_somebody_said() -> anyhow::Result<()> {
    let component = guests::example("rust-appointments");
    let pki = Pki::new()?;
    let tls = Registry::with_tls(&pki).await?;
    tls.push(REPOSITORY, "1", &Push::new(&component));
    let reference = format!("{}/{REPOSITORY}:1", tls.address);
    let authority = pki.text("ca.pem");
    let user = User::new()?;
    let with = |authority: &str| {
        [
            "pull".to_owned(),
            reference.clone(),
            "--tls-ca".into(),
            authority.into(),
        ]
    };
    let stranger = with(&pki.text("stranger.pem"));
    user.runs(
        &stranger.each_ref().map(String::as_str),
        1,
        "does not answer over TLS",
    )?;
    user.has_nothing()?;
    let known = with(&authority);
    user.runs(&known.each_ref().map(String::as_str), 0, "not signed")?;
    let no_file = with(&pki.text("listener.key"));
    let args = no_file.each_ref().map(String::as_str);
    User::new()?.runs(&args, 1, "holds no certificate in PEM form")?;

    // Plain HTTP beyond this machine is for those who say so; here a proxy answers.
    let proxy = Registry::start().await?;
    proxy.push(REPOSITORY, "1", &Push::new(&component));
    let address = format!("http://{}", proxy.address);
    let reference = format!("registry.example.org/{REPOSITORY}:1");
    let user = User::new()?;
    let args = ["pull", &reference, "--proxy", &address];
    user.runs(&args, 1, "does not answer over TLS")?;
    let asked = proxy.asked();
    ensure!(
        asked.iter().all(|line| line == "registry.example.org:443"),
        "{asked:?}"
    );
    let args = ["pull", &reference, "--proxy", &address, "--plain-http"];
    user.runs(&args, 0, "not signed")?;

    // Nobody there, and nobody who answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let reference = format!("{}/{REPOSITORY}:1", silent.local_addr()?);
    let args = ["pull", &reference, "--timeout", "1", "--output", "x.wasm"];
    user.runs(&args, 1, "did not come within 1 seconds: try again")?;
    drop(silent);
    let args = ["pull", &reference, "--output", "x.wasm"];
    user.runs(&args, 1, "does not answer")?;
    Ok(())
}
