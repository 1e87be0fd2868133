//! Loads in words, and what they take.

use super::*;

fn load(state: State, leads: Option<Leads>) -> Load {
    Load {
        id: "l".into(),
        account: "clinic".into(),
        flow: "registrations".into(),
        state,
        what: What {
            leads,
            left_out: [("ADT^A08".to_owned(), 3), ("unreadable".to_owned(), 1)].into(),
            error: None,
        },
        taken: 0,
        total: 1_200,
        created_at_ms: 1_790_000_000_000,
        updated_at_ms: 1_790_000_000_000,
    }
}

#[test]
fn a_load_is_told_in_words() {
    let progress = Progress {
        messages: 390,
        delivered: 300,
        skipped: 40,
        dead: 2,
        aside: 5,
        open: 43,
    };
    let said = |load: &Load, expected_ms| {
        standing(load, progress, Some(310), 1_510.5, expected_ms).summary
    };
    let mut messages = load(State::Collecting, None);
    insta::assert_snapshot!(said(&messages, Some(302_000)), @"1200 messages about 310 patients, 1511 calls to LeadSquared, about 6 minutes; 4 left out (3 ADT^A08, 1 unreadable)");
    messages.taken = 400;
    messages.state = State::Running;
    let standing = standing(&messages, progress, Some(310), 1.0, None);
    insta::assert_snapshot!(standing.summary, @"400 of 1200 messages taken; 300 delivered, 40 skipped, 2 dead, 43 under way, 5 waiting for a person or for their patient; still 1 calls to LeadSquared, no limit of calls is set; 4 left out (3 ADT^A08, 1 unreadable)");
    assert_eq!(standing.repeated, 10);
    let since = Leads::Changed {
        from: "2026-01-01T00:00:00Z".into(),
        to: None,
    };
    let mut leads = load(State::Failed, Some(since));
    leads.what.error = Some("LeadSquared does not answer.".into());
    leads.what.left_out.clear();
    insta::assert_snapshot!(said(&leads, None), @"nothing was loaded: LeadSquared does not answer.");
}

#[test]
fn the_time_depends_on_the_plan_and_on_what_is_queued() {
    let outlook = |calls_per_window, calls_of_today| Outlook {
        open_deliveries: 10,
        expected_calls: 50.0,
        calls_per_window,
        window_ms: 5_000,
        empty_in_ms: None,
        calls_of_today,
        used_today: 900,
        used_up_at: None,
    };
    let check = |per_window, per_day, calls, expected| {
        assert_eq!(time_ms(&outlook(per_window, per_day), calls), expected);
    };
    check(None, None, 1_000.0, None);
    check(Some(10), None, 950.0, Some(500_000));
    // 100 are left today: 50 for what is queued, and the rest tomorrow.
    check(Some(10), Some(1_000), 50.0, Some(50_000));
    check(Some(10), Some(1_000), 51.0, Some(DAY.as_millis() as u64));
    check(None, Some(1_000), 1_950.0, Some(2 * DAY.as_millis() as u64));
    let words = [900, 90_500, 5_000_000, 90_000_000, 200_000_000].map(duration);
    assert_eq!(
        words,
        ["1 s", "2 minutes", "84 minutes", "25 hours", "3 days"]
    );
}

#[test]
fn a_filter_must_say_something() {
    let changed = |from: &str, to: Option<&str>| Leads::Changed {
        from: from.into(),
        to: to.map(str::to_owned),
    };
    let field = |name: &str, value: &str| Leads::Field {
        name: name.into(),
        value: value.into(),
    };
    for right in [
        changed("2026-01-01T00:00:00Z", None),
        changed("2026-01-01T00:00:00Z", Some("2026-02-01T00:00:00Z")),
        field("mx_City", "Rye"),
    ] {
        assert!(check(&right).is_ok(), "{right:?}");
    }
    for wrong in [
        changed("yesterday", None),
        changed("2026-01-01T00:00:00Z", Some("")),
        field("", "Rye"),
        field("mx_City", " "),
    ] {
        assert!(check(&wrong).is_err(), "{wrong:?}");
    }
}
