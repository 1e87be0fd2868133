//! The sample message of a flow, sealed beside it.

use ligature::flow::Flow;
use ligature::flow::template::{Kept, Template};
use ligature::hl7::Message;

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
    assert_eq!(templates.get(&account(), &flow.id).await.unwrap(), None);
    let message = Message::parse(TEXT.as_bytes()).unwrap();
    let sample = Template::deidentified(&flow, &message);
    templates.put(&sample).await.unwrap();
    let original = Template::original(&flow, &message);
    templates.put(&original).await.unwrap();

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
    templates.put(&sample).await.unwrap();
    let kept = templates.get(&account(), &flow.id).await.unwrap();
    assert_eq!(kept, Some(sample));
    templates.remove(&account(), &flow.id).await.unwrap();
    assert_eq!(templates.get(&account(), &flow.id).await.unwrap(), None);
}
