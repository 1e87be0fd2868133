//! Look-ups by the rules of a table, its faults, and CSV as it comes from spreadsheets.

use super::csv::{self, Error, Sheet};
use super::*;

fn table(entries: &[(&str, &[&str])]) -> CodeTable {
    let mut table = CodeTable::new("clinic".into(), "wards".into());
    table.columns = ["value", "floor"].map(String::from).into();
    table.entries = entries
        .iter()
        .map(|(code, row)| ((*code).into(), row.iter().map(|it| (*it).into()).collect()))
        .collect();
    table
}

#[test]
fn a_code_is_found_by_the_tables_rules() {
    let mut table = table(&[("ICU", &["Intensive care", "2"]), ("a", &["lower", "1"])]);
    let check = |table: &CodeTable, code: &str, row: Option<&[&str]>, is_miss: bool| {
        let lookup = Lookup::from(table.clone());
        let found = lookup.find(code);
        let said = found.row.map(|row| row.into_owned());
        let row = row.map(|row| row.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        assert_eq!((said, found.is_miss), (row, is_miss), "{code}");
    };
    check(&table, "ICU", Some(&["Intensive care", "2"]), false);
    check(&table, "icu", None, true);
    check(&table, "", None, true);
    table.ignore_case = true;
    check(&table, "icu", Some(&["Intensive care", "2"]), false);
    check(&table, "A", Some(&["lower", "1"]), false);
    table.otherwise = Otherwise::Default(vec!["Other".into(), "0".into()]);
    check(&table, "ER", Some(&["Other", "0"]), true);
    table.otherwise = Otherwise::PassThrough;
    check(&table, "ER", Some(&["ER", "ER"]), false);
}

#[test]
fn what_is_wrong_with_a_table_is_said_with_its_place() {
    let mut wrong = table(&[("a", &["1", "2"]), ("A", &["1", "2"]), ("b", &["1"])]);
    wrong.ignore_case = true;
    wrong.columns.push("floor".into());
    wrong.otherwise = Otherwise::Default(Vec::new());
    let said: Vec<_> = wrong.check().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(said.join("\n"), @r"
    columns.2: floor is there already
    entries.A: takes a value for each of the 3 columns, not 2
    entries.a: takes a value for each of the 3 columns, not 2
    entries.b: takes a value for each of the 3 columns, not 1
    otherwise.default: takes a value for each of the 3 columns, not 0
    entries.a: is A as well when case is ignored
    ");
    assert!(table(&[("a", &["1", "2"])]).check().is_empty());
}

#[test]
fn csv_is_read_as_spreadsheets_write_it() {
    let check = |text: &str, expected: Result<&[(&str, &[&str])], Error>| {
        let expected = expected.map(|rows| {
            let CodeTable {
                columns, entries, ..
            } = table(rows);
            Sheet { columns, entries }
        });
        assert_eq!(csv::read(text.as_bytes()), expected, "{text:?}");
    };
    let one: &[(&str, &[&str])] = &[("1", &["Ward, one", "2"])];
    check("code,value,floor\n1,\"Ward, one\",2\n", Ok(one));
    check(
        "\u{feff}Code;value;floor\r\n1;Ward, one;2\r\n;;\r\n",
        Ok(one),
    );
    check("code\tvalue\tfloor\n\n1\tWard, one\t2", Ok(one));
    check("", Err(Error::Empty));
    check("a,b\n", Err(Error::Heading("a".into())));
    check("code\n1\n", Err(Error::OneColumn));
    check(
        "code,value,floor\n1,2\n",
        Err(Error::Width {
            line: 2,
            found: 2,
            expected: 3,
        }),
    );
    check("code,value,floor\n,2,3\n", Err(Error::NoCode { line: 2 }));
    check(
        "code,value,floor\n1,2,3\n1,2,3\n",
        Err(Error::Repeated { line: 3, first: 2 }),
    );
    let latin = [b"code,value\n1,Z".as_slice(), &[0xfc], b"rich\n"].concat();
    assert_eq!(csv::read(&latin), Err(Error::NotUtf8 { line: 2 }));
}

#[test]
fn what_would_be_a_formula_is_text_to_a_spreadsheet_and_comes_back() {
    let values = [
        "=1+1", "+1", "-5", "@x", "\t=x", "'=x", "''-", "'a", "a=b", "",
    ];
    let entries: Vec<(&str, &[&str])> = vec![("=2", &values[..2]), ("-", &values[2..4])];
    let mut table = table(&entries);
    for (at, value) in values.iter().enumerate() {
        let row = vec![(*value).to_owned(), String::new()];
        table.entries.insert(format!("{value}{at}"), row);
    }
    let written = csv::write(&table);
    assert_eq!(csv::read(&written).unwrap().entries, table.entries);
    let mut reader = ::csv::Reader::from_reader(written.as_slice());
    for cell in reader.records().flat_map(|record| {
        let record = record.unwrap();
        record.iter().map(str::to_owned).collect::<Vec<_>>()
    }) {
        assert!(!csv::is_formula(&cell), "{cell:?}");
    }
}

#[test]
fn the_name_of_a_table_stands_in_addresses() {
    let mut named = table(&[]);
    for (name, is_good) in [
        ("wards", true),
        ("a b", true),
        ("a/b", false),
        ("..\\b", false),
    ] {
        named.name = name.into();
        assert_eq!(named.check().is_empty(), is_good, "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn csv_that_was_written_is_read_back(
        entries in proptest::collection::btree_map("\\PC{1,8}", ("\\PC*", "['=+@-]{0,3}[^\r]*"), 0..20)
    ) {
        let mut table = table(&[]);
        table.entries = entries.into_iter().map(|(code, (a, b))| (code, vec![a, b])).collect();
        let sheet = csv::read(&csv::write(&table)).unwrap();
        proptest::prop_assert_eq!(sheet.entries, table.entries);
        proptest::prop_assert_eq!(sheet.columns, table.columns);
    }
}
