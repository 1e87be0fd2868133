//! Misbehaves in the way that the lead's field `Way` names; with any other it behaves.

use ligature_guest::{
    Change, Composed, Content, Date, Entity, Fill, Manifest, Moment, OutboundMapping, PhoneForm,
    Places, Refusal, codes, flow, log, phone,
};

struct Misbehaving;

ligature_guest::export_outbound!(Misbehaving);

impl OutboundMapping for Misbehaving {
    fn describe() -> Manifest {
        Manifest::new("misbehaving-outbound", "1.0.0")
            .vendor("the tests")
            .events(["lead-update"])
            .reads(["lead.Way", "lead.LastName", "lead.Phone", "activity.Status"])
            .places(["PID-3.1", "PID-5", "PID-7", "PID-13", "NK1-2"])
            .table("codes", "Codes")
    }

    fn to_hl7(change: &Change<'_>) -> Result<Composed, Refusal> {
        let places = Places::new().required("PID-5.1", change.content("lead.LastName")?);
        let way = change.text("lead.Way")?.unwrap_or_default();
        match way.as_str() {
            "read-ungranted" => places.place("PID-5.2", change.text("lead.Salary")?),
            "read-made-up" => {
                let made_up = change.required("lead.LastName")?;
                places.place("PID-5.2", change.text(&format!("lead.{made_up}"))?)
            }
            "probe-ungranted" => {
                let refused = change
                    .get(Entity::Activity, "Salary", Moment::After)
                    .is_err();
                places.place("PID-5.2", refused.to_string())
            }
            "write-ungranted" => places.place("PID-19", "x"),
            "write-control-id" => places.place("MSH-10", "x"),
            "no-path" => places.place("no path", "x"),
            "condition" => places.place("PID-3[.5='MR'].1", "x"),
            "twice" => places.place("PID-5[1].1.1", "x"),
            "inside" => places.place("PID-13", "x").place("PID-13[2].4", "x"),
            "many" => (1..=3_000).fold(places, |places, _| places.place("PID-3.1", "x")),
            "date" => places.place(
                "PID-7",
                Date {
                    year: 2026,
                    month: 2,
                    day: 30,
                },
            ),
            "large-answer" => places.place("PID-5.2", "x".repeat(20 * 1024 * 1024)),
            "many-fields" => {
                let names: Vec<_> = (0..10_000).map(|_| "LastName").collect();
                let contents = change.get_all(Entity::Lead, &names, Moment::Before)?;
                let texts = contents
                    .iter()
                    .filter(|content| matches!(content, Content::Text(_)));
                places.place("PID-5.2", texts.count().to_string())
            }
            "panic" => panic!("with {:?}", change.text("lead.LastName")?),
            "refuse" => return Err(Refusal::Other(change.required("lead.LastName")?)),
            "skip" => return Ok(Composed::Skip("not for us".into())),
            "everything" => {
                log::write(log::Level::Info, &flow::event());
                let known = codes::translate("codes", "A")?;
                let number = change.text("lead.Phone")?;
                let number = number.map(|number| phone(number, PhoneForm::National));
                places
                    .place("PID-5.2", known)
                    .place("PID-5.3", change.changed(Entity::Lead).join(","))
                    .place("PID-13.1", number)
                    .place("PID-13[2].4", Fill::Null)
                    .place("NK1[2]-2.1", change.content("activity.Status")?)
            }
            _ => places,
        }
        .into_composed()
    }
}
