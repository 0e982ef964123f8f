//! `cvsync export`: what comes out is what the view holds.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use cvsync::store::export::VIEWS;

use crate::process::{cvsync, output};
use crate::views::{holding, rows, shown_by_vdab, synthetic};

/// The simulator's CVs, VDAB's, and one with all that a format could stumble over.
async fn database() -> (String, PgPool) {
    let mut documents = synthetic(40).await;
    documents.push(shown_by_vdab());
    documents.push(json!({
        "cvId": Uuid::from_u128(1),
        "persoonlijkeInteresse": {"a": [1, null, "x"]},
        "natuurlijkPersoon": {"voornaam": "", "achternaam": "\"D'Hondt\", Jr;\r\n\\.\t", "gsm": null},
        "ervaringen": [
            {"functieTitel": "a\nb", "werkgever": {"naam": "\\N"}},
            {"functieTitel": "\\.", "van": "2020-01-02"},
            {"functieTitel": "☕ \u{1}\u{2}\u{7f}"},
        ],
        "gewensteJob": {"arbeidsRegimes": [], "arbeidsStelsels": ["a,b", "", null, "{\"}"], "regios": ["NULL"]},
    }));
    holding(documents).await
}

fn env(url: &str) -> [(&str, &str); 1] {
    [("CVSYNC_DATABASE_URL", url)]
}

fn sorted(rows: &[Value]) -> Vec<String> {
    let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
    rows.sort_unstable();
    rows
}

#[tokio::test]
async fn ndjson_and_csv_hold_what_the_view_holds() {
    let (url, database) = database().await;
    for view in VIEWS {
        let (code, lines, stderr) =
            output(&["export", "--format", "ndjson", view], env(&url)).await;
        assert_eq!(code, Some(0), "{view}: {stderr}");
        let found = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let expected = in_utc(rows(&database, view).await);
        assert_eq!(
            sorted(&found.collect::<Vec<_>>()),
            sorted(&expected),
            "{view}"
        );

        let (code, csv, stderr) = output(&["export", "--format", "csv", view], env(&url)).await;
        assert_eq!(code, Some(0), "{view}: {stderr}");
        let mut tx = database.begin().await.unwrap();
        let twin = format!(
            "create temporary table twin on commit drop as select * from cvsync.{view} limit 0"
        );
        sqlx::raw_sql(AssertSqlSafe(twin))
            .execute(&mut *tx)
            .await
            .unwrap();
        let mut copy = tx
            .copy_in_raw("copy twin from stdin (format csv, header)")
            .await
            .unwrap();
        copy.send(csv.into_bytes()).await.unwrap();
        copy.finish().await.unwrap();
        let differences = format!(
            "select (select count(*) from (table twin except all select * from cvsync.{view}) as more)
                  + (select count(*) from (select * from cvsync.{view} except all table twin) as less)"
        );
        let differences: i64 = sqlx::query_scalar(AssertSqlSafe(differences))
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        assert_eq!(differences, 0, "{view} as CSV");
    }
}

/// The export writes times in UTC, whatever the session that compares has.
fn in_utc(mut rows: Vec<Value>) -> Vec<Value> {
    for row in &mut rows {
        for name in ["changed_at", "first_seen_at"] {
            if let Some(at) = row[name].as_str() {
                let at = chrono::DateTime::parse_from_rfc3339(at).unwrap().to_utc();
                let text = at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
                let text = text.trim_end_matches('0').trim_end_matches('.');
                row[name] = format!("{text}+00:00").into();
            }
        }
    }
    rows
}

#[cfg(feature = "parquet")]
#[tokio::test]
async fn parquet_holds_what_the_view_holds() {
    use parquet::file::reader::{FileReader, SerializedFileReader};

    let (url, database) = database().await;
    let folder = tempfile::tempdir().unwrap();
    for view in VIEWS {
        let file = folder.path().join(format!("{view}.parquet"));
        let args = [
            "export",
            "--format",
            "parquet",
            view,
            "--output",
            file.to_str().unwrap(),
        ];
        let (code, stdout, stderr) = output(&args, env(&url)).await;
        assert_eq!((code, stdout.as_str()), (Some(0), ""), "{view}: {stderr}");
        let reader = SerializedFileReader::new(std::fs::File::open(&file).unwrap()).unwrap();
        let found: Vec<Value> = reader
            .get_row_iter(None)
            .unwrap()
            .map(|row| {
                let row = row.unwrap();
                row.get_column_iter()
                    .map(|(name, field)| (name.clone(), shown(name, field)))
                    .collect()
            })
            .collect();
        let expected = in_utc(rows(&database, view).await);
        assert_eq!(sorted(&found), sorted(&expected), "{view}");
    }
}

/// A Parquet value as PostgreSQL's JSON has it.
#[cfg(feature = "parquet")]
fn shown(name: &str, field: &parquet::record::Field) -> Value {
    use chrono::{DateTime, NaiveDate, TimeDelta};
    use parquet::record::Field;
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => json!(value),
        Field::Int(value) => json!(value),
        Field::Long(value) => json!(value),
        Field::Date(days) => {
            let days = TimeDelta::days((*days).into());
            json!((NaiveDate::default() + days).to_string())
        }
        Field::TimestampMicros(at) => {
            let at = DateTime::from_timestamp_micros(*at).unwrap().to_rfc3339();
            in_utc(vec![json!({ name: at })])[0][name].clone()
        }
        Field::Str(text) if name == "persoonlijke_interesse" => serde_json::from_str(text).unwrap(),
        Field::Str(text) => json!(text),
        Field::ListInternal(list) => list.elements().iter().map(|e| shown("", e)).collect(),
        other => panic!("{name} is {other:?}"),
    }
}

#[tokio::test]
async fn csv_for_spreadsheets_holds_no_formula() {
    let cells = [
        ("=1+1", "'=1+1"),
        (" \t=cmd|' /C calc'!A0", " \t'=cmd|' /C calc'!A0"),
        ("+32 470 12 34 56", "'+32 470 12 34 56"),
        ("-1", "'-1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("a;=1+1", "a;'=1+1"),
        ("a;\"=1+1\"", "a;\"'=1+1\""),
        ("a\n=1+1", "a\n'=1+1"),
        ("＝1+1", "'＝1+1"),
        ("a - b = c", "a - b = c"),
    ];
    let documents = cells.iter().zip(1_u128..).map(|((text, _), number)| {
        json!({"cvId": Uuid::from_u128(number), "ervaringen": [{"functieTitel": text}]})
    });
    let (url, _) = holding(documents).await;
    let export = ["export", "--format", "csv", "ervaring"];
    let spreadsheet = [&export[..], &["--for-spreadsheets"]].concat();
    let (code, plain, stderr) = output(&export, env(&url)).await;
    assert_eq!(code, Some(0), "{stderr}");
    let (code, harmless, stderr) = output(&spreadsheet, env(&url)).await;
    assert_eq!(code, Some(0), "{stderr}");
    for (text, shown) in cells {
        // A field with a quotation mark or a line break is quoted, and its quotation marks are doubled.
        let field = |text: &str| text.replace('"', "\"\"");
        assert!(plain.contains(&field(text)), "{text}: {plain}");
        assert!(harmless.contains(&field(shown)), "{shown}: {harmless}");
    }
    let ndjson = [
        "export",
        "--format",
        "ndjson",
        "ervaring",
        "--for-spreadsheets",
    ];
    let (code, _, stderr) = output(&ndjson, env(&url)).await;
    assert_eq!(code, Some(2), "{stderr}");
}

#[tokio::test]
async fn a_file_appears_whole_or_not_at_all() {
    let (url, database) = holding([shown_by_vdab()]).await;
    let folder = tempfile::tempdir().unwrap();
    let left = || std::fs::read_dir(folder.path()).unwrap().count();
    let file = folder.path().join("regio.csv");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "old").unwrap();
    let args = [
        "export",
        "--format",
        "csv",
        "gewenste_regio",
        "--output",
        path,
    ];
    let (code, stdout, stderr) = output(&args, env(&url)).await;
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("cv_id,nr,regio\n"), "{text}");
    assert_eq!(text.lines().count(), 7);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(left(), 1);

    // A second export runs: neither publishes the other's unfinished file. The file of a killed export does not disturb.
    let partial = folder.path().join(".regio.csv.partial");
    let other = std::fs::File::create(&partial).unwrap();
    other.lock().unwrap();
    let (code, _, stderr) = output(&args, env(&url)).await;
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("another export is writing to it"),
        "{stderr}"
    );
    assert!(partial.exists());
    drop(other);
    assert_eq!(output(&args, env(&url)).await.0, Some(0));
    assert_eq!(left(), 1);

    // The view breaks while it is read: what was there stays.
    sqlx::raw_sql("create or replace view cvsync.gewenste_regio as select cv_id, 1/(cv_id is null)::int as nr, null::text as regio from cvsync.cv")
        .execute(&database)
        .await
        .unwrap();
    let (code, _, stderr) = output(&args, env(&url)).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    assert_eq!(left(), 1);

    let nowhere = [
        "export",
        "--format",
        "csv",
        "persoon",
        "--output",
        "/nowhere/at/all",
    ];
    let (code, _, stderr) = output(&nowhere, env(&url)).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("cannot write /nowhere/at/all"), "{stderr}");
    let device = [
        "export",
        "--format",
        "csv",
        "persoon",
        "--output",
        "/dev/null",
    ];
    assert_eq!(output(&device, env(&url)).await.0, Some(0));
}

#[tokio::test]
async fn wrong_use_of_export_says_what_would_be_right() {
    let (url, _) = holding([]).await;
    let (code, _, stderr) = output(&["export", "--format", "csv", "cv_seen"], env(&url)).await;
    assert_eq!(code, Some(2));
    for view in VIEWS {
        assert!(stderr.contains(view), "{view} is missing from {stderr}");
    }
    assert_eq!(
        output(&["export", "--format", "xlsx", "persoon"], env(&url))
            .await
            .0,
        Some(2)
    );
    let empty = crate::world::new_database().await;
    let (code, _, stderr) = output(&["export", "--format", "csv", "persoon"], env(&empty)).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("cvsync migrate"), "{stderr}");
}

#[tokio::test]
async fn an_analyst_exports_what_an_analyst_sees() {
    let (url, database) = holding([shown_by_vdab()]).await;
    let login = format!("l_{}", Uuid::new_v4().simple());
    let create = format!("create role {login} login password 'p' in role cvsync_analyst");
    sqlx::raw_sql(AssertSqlSafe(create))
        .execute(&database)
        .await
        .unwrap();
    let mut url = url::Url::parse(&url).unwrap();
    url.set_username(&login).unwrap();
    url.set_password(Some("p")).unwrap();
    let (code, csv, stderr) = output(
        &["export", "--format", "csv", "ervaring"],
        env(url.as_str()),
    )
    .await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        csv.starts_with("cv_id,nr,type,van,van_tekst,tot,tot_tekst\n"),
        "{csv}"
    );
    let (code, _, stderr) =
        output(&["export", "--format", "csv", "persoon"], env(url.as_str())).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("docs/data.md"), "{stderr}");
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let (url, _) = holding(synthetic(400).await).await;
    let mut child = cvsync(&["export", "--format", "ndjson", "competentie"], env(&url))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 10];
    stdout.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"{\"cv_id\":\"");
    drop(stdout);
    let done = child.wait_with_output().await.unwrap();
    let stderr = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(0), "{stderr}");
    assert!(!stderr.contains("error"), "{stderr}");
}

#[tokio::test]
async fn the_name_of_the_file_decides_the_format_and_documents_are_exported_whole() {
    let (url, database) = database().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for name in ["all.ndjson", "all.JSONL"] {
        let (code, _, stderr) = output(&["export", "cv", "--output", &path(name)], env(&url)).await;
        assert_eq!(code, Some(0), "{stderr}");
        let text = std::fs::read_to_string(path(name)).unwrap();
        let mut exported: Vec<_> = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["document"].to_string())
            .collect();
        let stored: Vec<Value> = sqlx::query_scalar("select document from cvsync.cv")
            .fetch_all(&database)
            .await
            .unwrap();
        exported.sort_unstable();
        assert_eq!(exported, sorted(&stored));
    }
    let (code, ..) = output(
        &["export", "persoon", "--output", &path("a.csv")],
        env(&url),
    )
    .await;
    assert_eq!(code, Some(0));
    let csv = std::fs::read_to_string(path("a.csv")).unwrap();
    assert!(csv.starts_with("cv_id,"), "{csv}");
    // A format that is named wins.
    let args = [
        "export",
        "persoon",
        "--format",
        "ndjson",
        "--output",
        &path("b.csv"),
    ];
    assert_eq!(output(&args, env(&url)).await.0, Some(0));
    assert!(
        std::fs::read_to_string(path("b.csv"))
            .unwrap()
            .starts_with('{')
    );
    for args in [
        &["export", "persoon"][..],
        &["export", "persoon", "--output", &path("a.csv.gz")],
        &["export", "persoon", "--output", &path("a")],
    ] {
        let (code, stdout, stderr) = output(args, env(&url)).await;
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.contains("--format must be given"), "{stderr}");
    }
}
