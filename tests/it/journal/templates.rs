//! The sample message of a flow, sealed beside it.

use ligature::flow::Flow;
use ligature::flow::template::{Kept, Template};
use ligature::hl7::Message;
use ligature::store::Error;
use ligature::store::catalog::{Author, Change, Expected};

use super::{ACCOUNT, Bed, account, both};

both!(a_template_comes_back_and_is_sealed);

const TEXT: &str = "MSH|^~\\&|A|B|C|D|20260301||ADT^A04|1|P|2.5.1\rPID|1||77||Fenwick^Odalys\r";

async fn a_template_comes_back_and_is_sealed(bed: Bed) {
    let flow: Flow = toml::from_str(&format!(
        "id = \"f\"\naccount = {ACCOUNT:?}\nname = \"F\"\ndirection = \"ehr-to-leadsquared\"\nchannel = \"c\"\n\
         event = \"ADT^A04\"\nentity = \"lead\"\nprimary_search_field = \"mx_MRN\""
    ))
    .unwrap();
    let templates = bed.store.templates();
    let catalog = bed.store.catalog();
    assert_eq!(templates.get(&account(), &flow.id).await.unwrap(), None);
    let message = Message::parse(TEXT.as_bytes()).unwrap();
    let sample = Template::deidentified(&flow, &message);
    let put = |template: &Template| [Change::Template(Box::new(template.clone()))];
    let author = Author::host();
    // Of a flow only.
    let refused = catalog.apply(&put(&sample), &author).await;
    assert!(matches!(refused, Err(Error::NotFound(_))), "{refused:?}");
    catalog.put_flow(&flow).await.unwrap();
    catalog.apply(&put(&sample), &author).await.unwrap();
    let original = Template::original(&flow, &message);
    catalog.apply(&put(&original), &author).await.unwrap();

    let bed = bed.reopen().await;
    let templates = bed.store.templates();
    let kept = templates.get(&account(), &flow.id).await.unwrap().unwrap();
    assert_eq!(kept, original);
    assert_eq!(kept.kept, Kept::Original);
    assert_eq!(kept.bytes(), TEXT.as_bytes());
    if let Some(path) = bed.url.strip_prefix("sqlite:") {
        for file in [path.to_owned(), format!("{path}-wal")] {
            let bytes = std::fs::read(file).unwrap_or_default();
            assert!(!bytes.windows(7).any(|part| part == b"Fenwick"));
        }
    }
    let catalog = bed.store.catalog();
    let get = || templates.get(&flow.account, &flow.id);
    catalog.apply(&put(&sample), &author).await.unwrap();
    assert_eq!(get().await.unwrap(), Some(sample.clone()));
    let gone = [Change::DeleteTemplate(
        flow.account.clone(),
        flow.id.clone(),
    )];
    catalog.apply(&gone, &author).await.unwrap();
    assert_eq!(get().await.unwrap(), None);
    // It goes with its flow.
    catalog.apply(&put(&sample), &author).await.unwrap();
    let gone = [Change::DeleteFlow(
        flow.account.clone(),
        flow.id.clone(),
        Expected::Any,
    )];
    catalog.apply(&gone, &author).await.unwrap();
    assert_eq!(get().await.unwrap(), None);
    let records = catalog.audit(None, 10).await.unwrap();
    let records = records
        .iter()
        .map(|row| (row.record.kind.as_str(), row.record.action.as_str()));
    let of_templates: Vec<_> = records.filter(|(kind, _)| *kind == "template").collect();
    assert_eq!(
        of_templates,
        [
            ("template", "put"),
            ("template", "delete"),
            ("template", "put"),
            ("template", "put"),
            ("template", "put")
        ]
    );
}
