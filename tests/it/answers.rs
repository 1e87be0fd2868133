//! What each setting of a channel makes of an answer: codes, checks, second frames, duplicates.

use anyhow::{Context, ensure};
use ligature_tests::clinic::Clinic;
use ligature_tests::mllp::Client;

async fn clinic(channel: &str) -> anyhow::Result<(Clinic, Client)> {
    let clinic = Clinic::of_registrations(channel).await?;
    let client = Client::connect(clinic.site.mllp).await?;
    Ok((clinic, client))
}

/// A registration whose MSH goes on after MSH-9 with `rest`: MSH-10, MSH-11, MSH-12, ...
fn registration(sender: &str, rest: &str) -> String {
    format!(
        "MSH|^~\\&|{sender}|LIG|LSQ|20261120093000||ADT^A04|{rest}\rEVN|A04\r\
         PID|1||77^^^CLINIC^MR||Fenwick^Odalys\rPV1|1|O\r"
    )
}

/// MSA-1 and MSA-2 of an answer, and ERR-3.1 where there is one.
fn code(answer: &[u8]) -> anyhow::Result<String> {
    let answer = std::str::from_utf8(answer)?;
    let segment = |name: &str| {
        answer
            .split('\r')
            .map(|line| line.split('|').collect::<Vec<_>>())
            .find(|fields| fields[0] == name)
    };
    let msa = segment("MSA").context("MSA")?;
    let fault = segment("ERR")
        .and_then(|fields| Some(fields.get(3)?.split('^').next()?.to_owned()))
        .unwrap_or_default();
    Ok(format!("{} {} {fault}", msa[1], msa[2])
        .trim_end()
        .to_owned())
}

async fn check(
    clinic: &Clinic,
    client: &mut Client,
    message: &str,
    expected: &str,
    reason: &str,
) -> anyhow::Result<()> {
    let answer = code(&client.exchange(message.as_bytes()).await?)?;
    ensure!(
        answer == expected,
        "{answer:?} for {message:?}, expected {expected:?}"
    );
    let page = clinic.site.json("/api/v1/messages").await?;
    let newest = &page["messages"][0];
    ensure!(
        newest["reason_code"] == reason,
        "{} for {message:?}, expected {reason:?}",
        newest["reason_code"]
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_takes_what_it_expects_and_keeps_the_rest() -> anyhow::Result<()> {
    let (clinic, mut client) = clinic(
        "senders = [{ application = \"EPIC\", facility = \"MAIN\" }, { facility = \"LAB\" }]\n\
         versions = [\"2.3\", \"2.5.1\"]\nprocessing_ids = [\"P\"]",
    )
    .await?;
    for (sender, rest, expected, reason) in [
        ("EPIC|MAIN", "1|P|2.5.1", "AA 1", ""),
        ("ANY^x|LAB^1.2^ISO", "2|P|2.3", "AA 2", ""),
        ("EPIC|OTHER", "3|P|2.5.1", "AR 3 207", "unexpected-sender"),
        ("|", "4|P|2.5.1", "AR 4 207", "unexpected-sender"),
        ("EPIC|MAIN", "5|P|2.4", "AR 5", "unsupported-version"),
        ("EPIC|MAIN", "6|T|2.5.1", "AA 6", "test-message"),
        ("EPIC|MAIN", "7|D^A|2.5.1", "AA 7", "test-message"),
        (
            "EPIC|MAIN",
            "8|X|2.5.1",
            "AR 8 202",
            "unsupported-processing-id",
        ),
        (
            "EPIC|MAIN",
            "9||2.5.1",
            "AR 9 202",
            "unsupported-processing-id",
        ),
        ("EPIC|MAIN", "10|P|2.5.1|||ER|NE", "AA 10", ""),
    ] {
        let message = registration(sender, rest);
        if rest.ends_with("ER|NE") {
            client
                .write(format!("\x0b{message}\x1c\r").as_bytes())
                .await?;
            ensure!(client.is_silent().await, "nothing to say about {message:?}");
            continue;
        }
        check(&clinic, &mut client, &message, expected, reason).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn commit_and_application_answers_leave_one_behind_the_other() -> anyhow::Result<()> {
    let (_clinic, mut client) = clinic("ack_mode = \"enhanced\"").await?;
    let both = registration("EPIC|MAIN", "1|P|2.5.1|||AL|AL");
    // Again: the same two for the duplicate.
    for _ in 0..2 {
        let first = client.exchange(both.as_bytes()).await?;
        let second = client.frame().await?;
        ensure!(code(&first)? == "CA 1", "{}", code(&first)?);
        ensure!(code(&second)? == "AA 1", "{}", code(&second)?);
    }
    let commit = registration("EPIC|MAIN", "2|P|2.5.1|||AL|NE");
    let answer = client.exchange(commit.as_bytes()).await?;
    ensure!(code(&answer)? == "CA 2", "{}", code(&answer)?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn original_mode_looks_at_neither_and_auto_gives_one_answer() -> anyhow::Result<()> {
    for (mode, expected) in [("original", "AA"), ("auto", "CA")] {
        let (clinic, mut client) = clinic(&format!("ack_mode = \"{mode}\"")).await?;
        for number in 1..3 {
            let message = registration("EPIC|MAIN", &format!("{number}|P|2.5.1|||AL|AL"));
            check(
                &clinic,
                &mut client,
                &message,
                &format!("{expected} {number}"),
                "",
            )
            .await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_may_process_duplicates_and_close_on_rubbish() -> anyhow::Result<()> {
    let (clinic, mut client) = clinic("duplicates = \"process\"\nunreadable = \"close\"").await?;
    let message = registration("EPIC|MAIN", "1|P|2.5.1");
    for _ in 0..2 {
        check(&clinic, &mut client, &message, "AA 1", "").await?;
    }
    let page = clinic.site.json("/api/v1/messages").await?;
    ensure!(page["messages"].as_array().context("messages")?.len() == 2);
    ensure!(
        client.exchange(b"no message at all").await.is_err(),
        "the connection closes without an answer"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn oddities_are_noted_with_the_message() -> anyhow::Result<()> {
    let (clinic, mut client) = clinic("").await?;
    let message = registration("EPIC|MAIN", "1|P|2.5.1|||??").replace('\r', "\n");
    client.write(b"noise").await?;
    let answer = client.exchange(message.as_bytes()).await?;
    ensure!(code(&answer)? == "AA 1", "{}", code(&answer)?);
    let page = clinic.site.json("/api/v1/messages").await?;
    let warnings = page["messages"][0]["warnings"]
        .as_str()
        .context("warnings")?;
    ensure!(
        warnings.starts_with("mllp-noise-before-frame "),
        "{warnings}"
    );
    ensure!(warnings.contains("line-end@"), "{warnings}");
    ensure!(warnings.contains("ack-condition-unknown"), "{warnings}");
    ensure!(!warnings.contains("Fenwick"), "{warnings}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn release_2_of_mllp_is_spoken_where_it_is_asked_for() -> anyhow::Result<()> {
    let (_clinic, mut client) = clinic("commit_blocks = true").await?;
    // The first frame back is the commit acknowledgement, the second HL7's.
    let message = registration("EPIC|MAIN", "1|P|2.5.1");
    let commit = client.exchange(message.as_bytes()).await?;
    ensure!(commit == b"\x06", "{}", commit.escape_ascii());
    let answer = code(&client.frame().await?)?;
    ensure!(answer == "AA 1", "{answer}");
    // A copy is in safe storage as well, and so are bytes that are no message.
    for (payload, expected) in [(message.as_str(), "AA 1"), ("no message at all", "AR ")] {
        let commit = client.exchange(payload.as_bytes()).await?;
        ensure!(commit == b"\x06", "{payload:?}: {}", commit.escape_ascii());
        let answer = code(&client.frame().await?)?;
        ensure!(answer.starts_with(expected), "{payload:?}: {answer}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_says_how_its_messages_are_read() -> anyhow::Result<()> {
    let (clinic, mut client) = clinic("charset = \"8859/1\"\nstray_lines = \"join\"").await?;
    // MSH-18 says UTF-8, which these bytes are not; the channel knows better.
    let message = registration("EPIC|MAIN", "1|P|2.5.1||||||UNICODE UTF-8");
    let message = [message.as_bytes(), b"NTE|1||Zo\xEB\nsecond line\r"].concat();
    let answer = code(&client.exchange(&message).await?)?;
    ensure!(answer == "AA 1", "{answer}");
    let page = clinic.site.json("/api/v1/messages").await?;
    let warnings = page["messages"][0]["warnings"].as_str();
    let codes: Vec<&str> = warnings
        .context("warnings")?
        .split(' ')
        .filter_map(|one| one.split('@').next())
        .collect();
    ensure!(codes == ["line-end", "continuation-line"], "{codes:?}");
    clinic.settled(std::time::Duration::from_secs(30)).await?;
    Ok(())
}
