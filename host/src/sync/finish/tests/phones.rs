//! Phone numbers: American ones, those of other countries, what stands beside them, and what is none.

use super::super::phone;

/// Phone numbers as written, the default country, and what comes of them.
fn phones(cases: &[(&str, Option<&str>, &str)]) {
    for (written, country, expected) in cases {
        let found = match phone::read(written, *country) {
            Ok(number) => number,
            Err(why) => format!("[{why}]"),
        };
        assert_eq!(found, *expected, "{written:?} in {country:?}");
    }
}

#[test]
fn american_phones() {
    let us = Some("1");
    phones(&[
        ("(617)555-0142", us, "+1-6175550142"),
        ("617.555.0142", us, "+1-6175550142"),
        ("617/555-0142", Some("+1"), "+1-6175550142"),
        ("1-617-555-0142", us, "+1-6175550142"),
        ("1 (617) 555-0142", us, "+1-6175550142"),
        ("+1 617 555 0142", us, "+1-6175550142"),
        ("+1-617-555-0142", Some("44"), "+1-6175550142"),
        (
            "\u{202a}+1\u{a0}617\u{2011}555\u{2011}0142\u{202c}",
            us,
            "+1-6175550142",
        ),
        ("+1 (1) 617 555 0142", us, "+1-6175550142"),
        // Not in service, and kept: LeadSquared's own example among them.
        ("+1-5551234567", us, "+1-5551234567"),
        ("0115550142", us, "+1-0115550142"),
        // Other countries of the same code.
        ("(416) 555-0142", us, "+1-4165550142"),
        ("+1 787 555 0142", us, "+1-7875550142"),
        ("1-800-555-0142", us, "+1-8005550142"),
        // A country code by the prefix of calls abroad, or in HL7's old form.
        ("011 44 20 7946 0958", us, "+44-2079460958"),
        ("0044 20 7946 0958", us, "+44-2079460958"),
        ("44 (20)7946-0958", us, "+44-2079460958"),
        // HL7 2.6 and before, XTN.1.
        ("(415)555-3210X123B45Cafter 5", us, "+1-4155553210"),
        ("(415)555-3210Cafter 5", us, "+1-4155553210"),
        ("(415)555-3210B45", us, "+1-4155553210"),
    ]);
}

#[test]
fn phones_with_more_than_a_number() {
    let us = Some("1");
    phones(&[
        ("617-555-0142x12", us, "+1-6175550142"),
        ("617-555-0142 ext. 12", us, "+1-6175550142"),
        ("617-555-0142 Extension 12", us, "+1-6175550142"),
        ("617-555-0142 #12", us, "+1-6175550142"),
        ("617-555-0142,,12", us, "+1-6175550142"),
        ("tel:+1-617-555-0142;ext=12", us, "+1-6175550142"),
        ("Home: (617) 555-0142", us, "+1-6175550142"),
        ("(H) 617-555-0142", us, "+1-6175550142"),
        ("617-555-0142 (cell)", us, "+1-6175550142"),
        (
            "617-555-0142 or 617-555-0143",
            us,
            "[it holds more than one phone number]",
        ),
        (
            "617-555-0142\n617-555-0143",
            us,
            "[it holds more than one phone number]",
        ),
        ("617-555-O142", us, "[it holds more than one phone number]"),
        (
            "617-555-0142 617-555-0143",
            us,
            "[its number of digits is none that phone numbers of its country have]",
        ),
    ]);
}

#[test]
fn phones_of_other_countries() {
    phones(&[
        ("+91 98450 98450", Some("1"), "+91-9845098450"),
        ("+919845098450", Some("1"), "+91-9845098450"),
        ("09845098450", Some("91"), "+91-9845098450"),
        ("9845098450", Some("91"), "+91-9845098450"),
        ("919845098450", Some("91"), "+91-9845098450"),
        ("९८४५०९८४५०", Some("91"), "+91-9845098450"),
        ("1800 266 6868", Some("91"), "+91-18002666868"),
        ("+44 (0)20 7946 0958", Some("1"), "+44-2079460958"),
        ("020 7946 0958", Some("44"), "+44-2079460958"),
        ("07700 900123", Some("44"), "+44-7700900123"),
        ("+49 (0)30 123456", Some("1"), "+49-30123456"),
        ("030/123456", Some("49"), "+49-30123456"),
        ("0049 30 123456", Some("44"), "+49-30123456"),
        ("+49 151 12345678", Some("1"), "+49-15112345678"),
        // Italian numbers keep their zero abroad.
        ("06 6982 1234", Some("39"), "+39-0669821234"),
        ("+39 06 6982 1234", Some("1"), "+39-0669821234"),
        ("8 (495) 123-45-67", Some("7"), "+7-4951234567"),
        ("+7 800 555 35 35", Some("1"), "+7-8005553535"),
        // The 15 of Argentine mobiles is a 9 abroad; Brazilians dial a carrier.
        ("011 15-1234-5678", Some("54"), "+54-91112345678"),
        ("+54 9 11 1234 5678", Some("1"), "+54-91112345678"),
        ("0 41 11 91234-5678", Some("55"), "+55-11912345678"),
        ("0412 345 678", Some("61"), "+61-412345678"),
        ("+852 2345 6789", Some("1"), "+852-23456789"),
        ("+971 50 123 4567", Some("1"), "+971-501234567"),
        ("+800 1234 5678", Some("1"), "+800-12345678"),
        ("+00 44 20 7946 0958", Some("1"), "+44-2079460958"),
    ]);
}

#[test]
fn phones_without_a_default_country() {
    phones(&[
        ("617 555 0142", None, "6175550142"),
        ("555-0142", None, "5550142"),
        ("+91 98450 98450", None, "+91-9845098450"),
        ("0044 20 7946 0958", None, "+44-2079460958"),
        ("4711", None, "[it is not a phone number]"),
        ("1234567890123456", None, "[it is not a phone number]"),
    ]);
}

#[test]
fn what_is_no_phone() {
    let us = Some("1");
    let (no, short) = (
        "[it is not a phone number]",
        "[its number of digits is none that phone numbers of its country have]",
    );
    let local = "[it is a local phone number without its area code]";
    let unknown = "[it begins with a country code that no country has]";
    phones(&[
        ("", us, no),
        ("none", us, no),
        ("N/A", us, no),
        ("911", us, no),
        ("+", us, no),
        ("1-800-FLOWERS", us, no),
        ("555-0142", us, local),
        ("555-0142 ext. 12", us, local),
        ("+1 555-0142", us, local),
        ("55501422", us, short),
        ("617-555-014", us, short),
        ("617-555-01422", us, short),
        ("+91 98450", us, short),
        ("+999 617 555 0142", us, unknown),
        ("+0 617 555 0142", us, unknown),
        (
            "617-555-0142",
            Some("999"),
            "[the default country code is none that a country has]",
        ),
        (
            "617-555-0142",
            Some(""),
            "[the default country code is none that a country has]",
        ),
        ("o@example.org", us, no),
        (
            "1234567890123456789012345678901234567890",
            us,
            "[it holds more than one phone number]",
        ),
    ]);
}
