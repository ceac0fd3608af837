//! Texts as SeaORM makes them, and hostile ones, changed at random.

use audit_tests::DbBackend;
use proptest::collection::vec;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryTrait, Statement,
};

use crate::fixtures::keys::shelf::{Column, Entity, Model};

/// Texts for a database: one or two statements, changed in up to three places.
pub(super) fn texts(backend: DbBackend) -> BoxedStrategy<String> {
    let mut seeds: Vec<String> = of_seaorm(backend).iter().map(ToString::to_string).collect();
    seeds.extend(HOSTILE.iter().chain(hostile(backend)).map(|sql| (*sql).to_owned()));
    let one = select(seeds);
    let text = prop_oneof![
        6 => one.clone(),
        1 => (one.clone(), select(vec!["; ", ";", " ", "\n--\n", "/**/"]), one).prop_map(|(a, s, b)| format!("{a}{s}{b}")),
    ];
    (text, vec(change(), 0..4))
        .prop_map(|(text, changes)| changes.iter().fold(text, |text, change| change.apply(&text)))
        .boxed()
}

/// Statements with the values that SeaORM binds to them, their texts changed in up to three places.
pub(super) fn bound(backend: DbBackend) -> BoxedStrategy<Statement> {
    let mut seeds = of_seaorm(backend);
    seeds.extend(
        HOSTILE.iter().chain(hostile(backend)).map(|sql| Statement::from_sql_and_values(backend, *sql, [])),
    );
    (select(seeds), vec(change(), 0..4))
        .prop_map(|(seed, changes)| {
            let sql = changes.iter().fold(seed.sql.clone(), |text, change| change.apply(&text));
            Statement { sql, ..seed }
        })
        .boxed()
}

/// A change of a text; places are shares of its length.
#[derive(Clone, Debug)]
enum Change {
    Insert(u16, &'static str),
    Remove(u16, u8),
    Wrap(u16, u16, (&'static str, &'static str)),
    Rename(&'static str),
    Respace(&'static str),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<u16>(), select(PIECES)).prop_map(|(at, piece)| Change::Insert(at, piece)),
        1 => (any::<u16>(), 1..4_u8).prop_map(|(at, count)| Change::Remove(at, count)),
        2 => (any::<u16>(), any::<u16>(), select(PAIRS)).prop_map(|(from, to, pair)| Change::Wrap(from, to, pair)),
        2 => select(NAMES).prop_map(Change::Rename),
        1 => select(SPACES).prop_map(Change::Respace),
        1 => Just(Change::Insert(u16::MAX, "; DELETE FROM shelf")),
    ]
}

impl Change {
    fn apply(&self, text: &str) -> String {
        let all: Vec<char> = text.chars().collect();
        let place = |share: u16| usize::from(share) * all.len() / usize::from(u16::MAX);
        let string = |chars: &[char]| chars.iter().collect::<String>();
        match *self {
            Self::Insert(at, piece) => {
                let (before, after) = all.split_at(place(at));
                string(before) + piece + &string(after)
            }
            Self::Remove(at, count) => {
                let at = place(at);
                string(&all[..at]) + &string(&all[(at + usize::from(count)).min(all.len())..])
            }
            Self::Wrap(from, to, (open, close)) => {
                let (from, to) = (place(from).min(place(to)), place(from).max(place(to)));
                string(&all[..from]) + open + &string(&all[from..to]) + close + &string(&all[to..])
            }
            Self::Rename(name) => {
                text.replace("\"shelf\"", name).replace("`shelf`", name).replace("shelf", name)
            }
            Self::Respace(space) => text.replace(' ', space),
        }
    }
}

const PIECES: &[&str] = &[
    "'",
    "''",
    "\"",
    "\"\"",
    "`",
    "``",
    "\\",
    "\\'",
    "\\\"",
    "/*",
    "*/",
    "/**/",
    "/*!",
    "/*!99999",
    "/*!40000",
    "/*M!",
    "--",
    "-- ",
    "--\n",
    "#",
    "#\n",
    "\n",
    "\r",
    "\t",
    "\u{b}",
    "\u{c}",
    "\u{a0}",
    "\u{feff}",
    "\0",
    ";",
    ";;",
    "$$",
    "$a$",
    "$1",
    "?",
    ":",
    "::text",
    "E'",
    "e'\\'",
    "U&'",
    "U&\"",
    "N'",
    "B'",
    "x'",
    "_utf8'",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    ",",
    "@",
    "@@",
    ":=",
    "/*' */",
    "--'\n",
    "DELETE FROM shelf;",
    "; UPDATE shelf SET label = 'p';",
    " shelf ",
    "EXPLAIN ",
    "EXPLAIN ANALYZE ",
    "ANALYZE ",
    "BEGIN; ",
    "COMMIT; ",
    "ROLLBACK; ",
    "SAVEPOINT s; ",
    "SELECT ",
    "NULL",
    "1e",
    "0x",
    " RETURNING *",
    " LIMIT 1",
    " AS shelf ",
    "ONLY ",
    "main.",
    "public.",
    "temp.",
];

const PAIRS: &[(&str, &str)] = &[
    ("/*", "*/"),
    ("/*!", "*/"),
    ("/*!50000 ", "*/"),
    ("/*M!100000 ", "*/"),
    ("/* /* */", "*/"),
    ("'", "'"),
    ("\"", "\""),
    ("`", "`"),
    ("[", "]"),
    ("$$", "$$"),
    ("$a$", "$a$"),
    ("E'", "'"),
    ("(", ")"),
    ("-- ", "\n"),
    ("#", "\n"),
    ("DO $$ BEGIN ", "; END $$"),
    ("BEGIN NOT ATOMIC ", "; END"),
    ("EXECUTE IMMEDIATE '", "'"),
    ("WITH w AS (", ") SELECT 1"),
];

const NAMES: &[&str] = &[
    "SHELF",
    "Shelf",
    "\"shelf\"",
    "\"SHELF\"",
    "`shelf`",
    "`SHELF`",
    "[shelf]",
    "'shelf'",
    "public.shelf",
    "\"public\".\"shelf\"",
    "main.shelf",
    "main . shelf",
    "/**/shelf",
    "shelf/**/",
    "ONLY shelf",
    "ONLY (shelf)",
    "U&\"sh\\0065lf\"",
    "U&\"sh!0065lf\" UESCAPE '!'",
    "\"she\"\"lf\"",
    "shelf*",
    "shelf AS t",
    "shelf PARTITION (p)",
];

const SPACES: &[&str] =
    &["\t", "\n", "\r\n", "\u{b}", "\u{c}", "/**/", " /*'*/ ", "--\n", "#\n", "\u{a0}", "  "];

/// For all databases.
const HOSTILE: &[&str] = &[
    "SELECT 'x'; DELETE FROM shelf",
    "SELECT 1 /* ' */; DELETE FROM shelf -- '",
    "SELECT '''; DELETE FROM shelf; --'",
    "SELECT ''''; DELETE FROM shelf; --'",
    r"SELECT 'a\'; DELETE FROM shelf; -- '",
    r"SELECT 'a\', '; DELETE FROM shelf; -- '",
    "SELECT 1 -- \n; DELETE FROM shelf",
    "UPDATE shelf SET label = '; DELETE FROM shelf; --' WHERE room = 'a'",
    "UPDATE shelf SET label = label || '/* ' WHERE number = 1 /* ' */",
    "WITH w AS (SELECT 1 AS n) DELETE FROM shelf WHERE number IN (SELECT n FROM w)",
    "WITH shelf AS (SELECT 1 AS n) SELECT n FROM shelf",
    "INSERT INTO shelf (room, number, label) SELECT room, number + 50, label FROM shelf",
    "EXPLAIN DELETE FROM shelf",
    "DELETE FROM shelf WHERE room = 'a' RETURNING room",
    "SELECT 1; COMMIT; DELETE FROM shelf; BEGIN",
];

fn hostile(backend: DbBackend) -> &'static [&'static str] {
    match backend {
        DbBackend::Postgres => &[
            "SELECT $$ ' $$; DELETE FROM shelf; --'",
            "SELECT $a$ $$ $a$; DELETE FROM shelf; -- $$",
            r"SELECT E'\'; DELETE FROM shelf; -- '",
            r"SELECT E'\''; DELETE FROM shelf; -- '",
            r"SELECT U&'\0027'; DELETE FROM shelf; -- '",
            r#"UPDATE U&"sh\0065lf" SET label = 'x'"#,
            "WITH gone AS (DELETE FROM shelf RETURNING *) SELECT * FROM gone",
            "/* /* */ DELETE FROM shelf; */ SELECT 1",
            "SELECT 1 /* /* */; DELETE FROM shelf; -- */",
            "EXPLAIN (ANALYZE) DELETE FROM shelf",
            "PREPARE p AS DELETE FROM shelf; EXECUTE p; DEALLOCATE p",
            "DO $$ BEGIN DELETE FROM shelf; END $$",
            "MERGE INTO shelf USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE",
            "DECLARE c CURSOR FOR SELECT * FROM shelf FOR UPDATE; FETCH c; DELETE FROM shelf WHERE CURRENT OF c",
            "UPDATE shelf SET (label, number) = ('x', number) WHERE room = 'a'",
            "SELECT * FROM shelf FOR UPDATE",
        ],
        DbBackend::MySql => &[
            "SELECT 1 /*! ; DELETE FROM shelf */",
            "/*!50000 DELETE FROM shelf */",
            "DELETE /*! FROM */ shelf",
            "SELECT 1 /*!99999 ' */; DELETE FROM shelf -- '",
            "SELECT \"a\\\"; DELETE FROM shelf; -- \"",
            "SELECT 1 --1; DELETE FROM shelf",
            "SELECT 1 # ' \n; DELETE FROM shelf",
            "SELECT `a'b` FROM (SELECT 1 AS `a'b`) AS q; DELETE FROM shelf; -- '",
            "PREPARE p FROM 'DELETE FROM shelf'; EXECUTE p",
            "EXECUTE IMMEDIATE 'DELETE FROM shelf'",
            "REPLACE INTO shelf VALUES ('a', 1, 'x')",
            "INSERT INTO shelf SET room = 'q', number = 1, label = 'l'",
            "DELETE s FROM shelf AS s",
            "UPDATE shelf AS s, shelf AS r SET s.label = r.label",
            "UPDATE shelf AS s JOIN shelf AS r ON r.room = s.room SET s.label = r.label",
            "UPDATE shelf s LEFT JOIN shelf r ON r.number > s.number SET s.label = 'last' WHERE r.room IS NULL",
            "UPDATE shelf JOIN (SELECT 1 AS n) AS o ON o.n = shelf.number SET shelf.label = 'o'",
            "DELETE s FROM shelf AS s JOIN shelf AS r ON r.room = s.room AND r.number > s.number",
            "DELETE shelf FROM shelf JOIN (SELECT 1 AS n) AS o ON o.n = shelf.number",
            "BEGIN NOT ATOMIC DELETE FROM shelf; END",
            "ANALYZE DELETE FROM shelf",
            "ANALYZE FORMAT=JSON UPDATE shelf SET label = 'x'",
        ],
        _ => &[
            "DELETE FROM [shelf]",
            "DELETE FROM 'shelf'",
            "DELETE FROM `shelf`",
            "DELETE FROM \"shelf\" WHERE \"room\" = \"a\"",
            "REPLACE INTO shelf VALUES ('a', 1, 'x')",
            "INSERT OR REPLACE INTO shelf VALUES ('a', 1, 'x'), ('q', 1, 'y')",
            "UPDATE OR REPLACE shelf SET number = 1 WHERE room = 'a'",
            "DELETE FROM shelf INDEXED BY sqlite_autoindex_shelf_1 WHERE room = 'a'",
            "EXPLAIN QUERY PLAN DELETE FROM shelf",
        ],
    }
}

/// What SeaORM makes.
fn of_seaorm(backend: DbBackend) -> Vec<Statement> {
    let row = |room: &str, number: i32, label: &str| {
        Model { room: room.into(), number, label: label.into() }.into_active_model().reset_all()
    };
    let key = || OnConflict::columns([Column::Room, Column::Number]);
    let rows = || [row("a", 1, "it's"), row("z", 7, "\\ \" ` $$ /* -- #")];
    vec![
        Entity::insert(row("z", 1, "l")).build(backend),
        Entity::insert_many(rows()).on_conflict(key().update_column(Column::Label).to_owned()).build(backend),
        Entity::insert_many(rows())
            .on_conflict(key().do_nothing_on([Column::Room]).to_owned())
            .build(backend),
        Entity::update_many().col_expr(Column::Label, Expr::value("'; --")).build(backend),
        Entity::update_many()
            .col_expr(Column::Label, Expr::value("b\\"))
            .filter(Column::Room.eq("b"))
            .build(backend),
        Entity::delete_many().filter(Column::Room.eq("a")).build(backend),
        Entity::delete_by_id(("b".to_owned(), 1)).build(backend),
        Entity::find().filter(Column::Label.contains("'")).build(backend),
    ]
}
