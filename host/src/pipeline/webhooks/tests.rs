//! Whose webhooks are whose, which secrets are taken, and what is left to the poll.

use super::*;

#[test]
fn addresses_are_such_as_leadsquared_can_reach() {
    let check = |address: &str, expected: Option<&str>| {
        assert_eq!(reachable(address).ok().as_deref(), expected, "{address}");
    };
    check(
        "https://bridge.example.org/",
        Some("https://bridge.example.org"),
    );
    check(
        "https://example.org/bridge",
        Some("https://example.org/bridge"),
    );
    check("http://127.0.0.1:8080", Some("http://127.0.0.1:8080"));
    check("http://bridge.example.org", None);
    check("http://127.0.0.1.example.org", None);
    check("https://", None);
    check("https://example.org/?a=1", None);
    check("bridge.example.org", None);
}

#[test]
fn the_poll_stands_in_for_what_does_not_fit() {
    let check = |room: usize, expected: &str| {
        let events = [
            WebhookEvent::LeadCreate,
            WebhookEvent::LeadUpdate,
            WebhookEvent::LeadActivityCreate,
        ];
        let subject = |event| Subject {
            event,
            activity: None,
        };
        let mut missing: Vec<Subject> = events.into_iter().map(subject).collect();
        leave_to_the_poll(&mut missing, room);
        let left: Vec<&str> = missing.iter().map(|it| it.event.as_str()).collect();
        assert_eq!(left.join(" "), expected, "room for {room}");
    };
    check(3, "lead-create lead-update lead-activity-create");
    check(2, "lead-update lead-activity-create");
    check(1, "lead-activity-create");
    check(0, "lead-activity-create");
}

#[test]
fn webhooks_are_ours_by_their_address() {
    let account = AccountId::from("clinic");
    let check = |url: &str, expected: bool| {
        let found = is_under(url, "https://example.org", &account);
        assert_eq!(found, expected, "{url}");
    };
    check("https://example.org/hooks/clinic", true);
    check("https://example.org/hooks/clinic/lead-update", true);
    check("https://example.org/hooks/clinic?event=6", true);
    check("https://example.org/hooks/clinic2", false);
    check("https://example.org.example.com/hooks/clinic", false);
    check("https://example.com/hooks/clinic", false);
}

#[test]
fn a_former_secret_is_taken_for_a_while() {
    let mut hook = Hook::new().unwrap();
    let first = hook.secrets.current.clone();
    hook.secrets.renew(0).unwrap();
    let second = hook.secrets.current.clone();
    assert_ne!(first, second);
    let taken = |now| hook.secrets.clone().taken(now);
    assert_eq!(taken(FORMER_MS - 1), [second.clone(), first]);
    assert_eq!(taken(FORMER_MS).as_slice(), std::slice::from_ref(&second));
    assert!(is_same(&second, &second) && !is_same(&second, &second[1..]));
    assert!(!format!("{hook:?}").contains(&second));
}
