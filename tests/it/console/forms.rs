//! What a form may hold, and where it leads.

use anyhow::ensure;
use ligature_tests::visitor::Visitor;

use super::office;

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_as_large_as_its_page_needs() -> anyhow::Result<()> {
    let (office, mut ana) = office(None).await?;
    let large = "x".repeat(200_000);
    let check = async |ana: &mut Visitor, path: &str, is_taken: bool| {
        let seen = ana.post_bare(path, &[("reason", &large)]).await?;
        ensure!((seen.status != 413) == is_taken, "{path}: {}", seen.status);
        anyhow::Ok(())
    };
    check(&mut ana, "/flows/registrations/pause", false).await?;
    check(&mut ana, "/own/password", false).await?;
    check(&mut ana, "/sign-in", false).await?;
    check(&mut ana, "/flows/registrations/mapping", true).await?;
    check(&mut ana, "/code-tables/clinic/wards/csv", true).await?;
    check(&mut ana, "/flows/registrations/component", true).await?;
    // Many fields take more memory than their text.
    let fields = vec![("a", ""); 30_000];
    let seen = ana
        .post_bare("/flows/registrations/mapping", &fields)
        .await?;
    ensure!(seen.status == 403, "{}", seen.status);
    office.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sign_in_one_stays_here() -> anyhow::Result<()> {
    let (office, _) = office(None).await?;
    let to = async |next: &str| {
        let mut visitor = Visitor::new(office.host.http);
        let fields = [
            ("login", "ana@example.org"),
            ("password", "three blue herons"),
            ("next", next),
        ];
        let seen = visitor.post("/sign-in", "/sign-in", &fields).await?;
        ensure!(seen.status == 303, "{next:?}: {}", seen.status);
        anyhow::Ok(seen.to)
    };
    ensure!(to("/channels?x=1").await? == "/channels?x=1");
    for next in [
        "/\t/evil.com",
        "/\nx",
        "//evil.com",
        "/\\evil.com",
        "/.//evil.com",
    ] {
        ensure!(to(next).await? == "/", "{next:?}");
    }
    office.host.stop().await;
    Ok(())
}
