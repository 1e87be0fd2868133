//! Webhooks by the client, made in the simulator.

use super::*;
use crate::simulator::lead_squared::Webhooks;

fn hook(event: WebhookEvent, activity_code: Option<u32>) -> NewWebhook {
    NewWebhook {
        event,
        activity_code,
        url: format!("https://bridge.example.org/hooks/clinic/{}", event.as_str()),
        description: "ligature".into(),
        headers: vec![("x-key".into(), "secret".into())],
    }
}

#[tokio::test]
async fn webhooks_are_made_listed_changed_and_deleted() {
    let settings = Settings {
        webhooks: Webhooks {
            plan_limit: 300,
            verifies: false,
            ..Webhooks::default()
        },
        ..unlimited()
    };
    let bench = bench(settings).await;
    let client = &bench.client;
    for event in WebhookEvent::ALL {
        let code = event.is_of_activities().then_some(205);
        let id = client
            .create_webhook(&hook(event, code))
            .await
            .expect("an id");
        let listed = client.webhooks().await.expect("a list");
        let made = listed.into_iter().find(|known| known.id == id);
        let made = made.expect("the one that was made");
        assert_eq!((made.event, made.activity_code), (Some(event), code));
        assert_eq!(made.status, WebhookStatus::Enabled);
        assert!(made.url.ends_with(event.as_str()));
    }
    let first = client.webhooks().await.expect("a list").remove(0);
    assert!(bench.simulator.enable_webhook(&first.id, false));
    let other = hook(WebhookEvent::LeadUpdate, None);
    client
        .update_webhook(&first.id, &other)
        .await
        .expect("a change");
    let listed = client.webhooks().await.expect("a list");
    let changed = listed.iter().find(|known| known.id == first.id);
    let changed = changed.expect("the one that was changed");
    assert_eq!(changed.event, Some(WebhookEvent::LeadUpdate));
    assert_eq!(changed.status, WebhookStatus::DisabledByHand);
    client.delete_webhook(&first.id).await.expect("a deletion");
    assert_eq!(client.webhooks().await.expect("a list").len(), 3);
    let again = client.delete_webhook(&first.id).await;
    assert_eq!(again, Ok(()), "it is gone");

    // More than a page.
    for _ in 0..205 {
        let made = client.create_webhook(&other).await;
        made.expect("an id");
    }
    assert_eq!(client.webhooks().await.expect("a list").len(), 208);
    let missing = hook(WebhookEvent::LeadActivityCreate, None);
    let refused = client.create_webhook(&missing).await;
    assert!(
        matches!(refused, Err(Error::Rejected { .. })),
        "{refused:?}"
    );
}
