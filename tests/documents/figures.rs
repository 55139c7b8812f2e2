//! The cost that documents tell is what the benchmark measured.

use crate::read;

/// Returns the cells of a line of a table.
fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

/// Returns what the benchmark measured of GET with 12 headers: × `none` and × `native` of one column of RESULTS.md.
fn measured(results: &str, name: &str) -> [String; 2] {
    let section = results.split("\n### ").find(|section| section.contains("(`get-12`)")).unwrap();
    let row = section.lines().map(cells).find(|cells| cells[0] == name);
    let row = row.unwrap_or_else(|| panic!("bench/RESULTS.md has no {name}"));
    // A cell is empty where a column is compared with itself.
    let median = |cell: &str| cell.split_whitespace().next().unwrap_or("1").to_owned();
    [median(row[2]), median(row[3])]
}

#[test]
fn the_costs_that_documents_tell_were_measured() {
    let results = read("bench/RESULTS.md");
    for (document, least) in [("README.md", 3), ("docs/cost.md", 8)] {
        let text = read(document);
        let table = text.lines().skip_while(|line| !line.contains("| in RESULTS.md |")).skip(2);
        let rows: Vec<_> = table.take_while(|line| line.starts_with('|')).map(cells).collect();
        assert!(rows.len() >= least, "{document}: {rows:?}");
        for row in rows {
            assert_eq!(measured(&results, row[1]), [row[2], row[3]], "{document}: {}", row[0]);
        }
    }
}
