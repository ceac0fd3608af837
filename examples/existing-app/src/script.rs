//! The INSERT statements of a SQL script.
//!
//! Exact rather than clever: between INSERT statements everything is passed over, within one whatever isn't understood
//! is an error that names the line.

/// `INSERT INTO table (columns) VALUES rows`.
#[derive(Clone, Debug, PartialEq)]
pub struct Insert {
    /// Table.
    pub table: String,
    /// Columns that the rows have values for.
    pub columns: Vec<String>,
    /// Rows, in the order of the script.
    pub rows: Vec<Row>,
    /// Line on which the statement begins, counted from 1.
    pub line: usize,
}

/// One row of an INSERT; it has as many values as the statement has columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Values.
    pub values: Vec<Literal>,
    /// Line on which the row begins, counted from 1.
    pub line: usize,
}

/// A value as the script writes it. The column, not the script, says what it is a text of.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `NULL`.
    Null,
    /// `-1.98`.
    Number(String),
    /// `'text'` or `N'text'`, with `''` for a quote.
    Text(String),
}

/// Why a script could not be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("line {line}: expected {expected}, found {found}")]
pub struct ScriptError {
    /// Line, counted from 1.
    pub line: usize,
    /// What should stand there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

/// Reads the INSERT statements of a script, in their order.
///
/// # Errors
/// If an INSERT statement is not of the form that [`Insert`] and [`Literal`] describe, or if the script ends within a
/// text or a comment.
pub fn inserts(script: &str) -> Result<Vec<Insert>, ScriptError> {
    let mut scanner = Scanner { rest: script, line: 1 };
    let mut found = Vec::new();
    loop {
        scanner.skip_blank()?;
        if scanner.rest.is_empty() {
            return Ok(found);
        } else if scanner.eat_word("INSERT") {
            found.push(scanner.insert()?);
        } else if scanner.rest.starts_with('\\') {
            // A command of psql ends with its line.
            scanner.skip_line();
        } else {
            scanner.skip_statement()?;
        }
    }
}

struct Scanner<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Scanner<'a> {
    fn insert(&mut self) -> Result<Insert, ScriptError> {
        let line = self.line;
        self.word("INTO")?;
        let table = self.name()?;
        let columns = self.list(Self::name)?;
        self.word("VALUES")?;
        let mut rows = Vec::new();
        loop {
            self.skip_blank()?;
            let row_line = self.line;
            let values = self.list(Self::literal)?;
            if values.len() != columns.len() {
                return Err(ScriptError {
                    line: row_line,
                    expected: format!("{} values for `{table}`", columns.len()),
                    found: values.len().to_string(),
                });
            }
            rows.push(Row { values, line: row_line });
            if !self.eat(',')? {
                self.symbol(';')?;
                return Ok(Insert { table, columns, rows, line });
            }
        }
    }

    /// `(item, item, ..)`
    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Result<T, ScriptError>) -> Result<Vec<T>, ScriptError> {
        self.symbol('(')?;
        let mut items = vec![item(self)?];
        while self.eat(',')? {
            items.push(item(self)?);
        }
        self.symbol(')')?;
        Ok(items)
    }

    fn literal(&mut self) -> Result<Literal, ScriptError> {
        self.skip_blank()?;
        if self.rest.starts_with("N'") {
            self.advance(1);
        }
        if self.rest.starts_with('\'') {
            return self.text().map(Literal::Text);
        }
        if self.eat_word("NULL") {
            return Ok(Literal::Null);
        }
        let end = self.rest.find(|c: char| !matches!(c, '0'..='9' | '.' | '-')).unwrap_or(self.rest.len());
        let number = &self.rest[..end];
        let digits = number.strip_prefix('-').unwrap_or(number);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) {
            return Err(self.error("a value"));
        }
        self.advance(end);
        Ok(Literal::Number(number.to_owned()))
    }

    /// A text from its opening quote to its closing one.
    fn text(&mut self) -> Result<String, ScriptError> {
        let opened = self.line;
        let mut text = String::new();
        self.advance(1);
        loop {
            let Some(end) = self.rest.find('\'') else {
                return Err(ScriptError {
                    line: opened,
                    expected: "a text that ends".into(),
                    found: "none".into(),
                });
            };
            text.push_str(&self.rest[..end]);
            self.advance(end + 1);
            if !self.rest.starts_with('\'') {
                return Ok(text);
            }
            text.push('\'');
            self.advance(1);
        }
    }

    fn name(&mut self) -> Result<String, ScriptError> {
        self.skip_blank()?;
        let name = word_at(self.rest);
        if name.is_empty() {
            return Err(self.error("a name"));
        }
        self.advance(name.len());
        Ok(name.to_owned())
    }

    fn word(&mut self, word: &str) -> Result<(), ScriptError> {
        self.skip_blank()?;
        if self.eat_word(word) { Ok(()) } else { Err(self.error(&format!("`{word}`"))) }
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = word_at(self.rest).eq_ignore_ascii_case(word);
        if found {
            self.advance(word.len());
        }
        found
    }

    fn symbol(&mut self, symbol: char) -> Result<(), ScriptError> {
        if self.eat(symbol)? { Ok(()) } else { Err(self.error(&format!("`{symbol}`"))) }
    }

    fn eat(&mut self, symbol: char) -> Result<bool, ScriptError> {
        self.skip_blank()?;
        let found = self.rest.starts_with(symbol);
        if found {
            self.advance(symbol.len_utf8());
        }
        Ok(found)
    }

    /// Blanks and comments.
    fn skip_blank(&mut self) -> Result<(), ScriptError> {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.advance(blank);
            if self.rest.starts_with("--") {
                self.skip_line();
            } else if self.rest.starts_with("/*") {
                let Some(end) = self.rest.find("*/") else {
                    return Err(self.error("a comment that ends"));
                };
                self.advance(end + 2);
            } else {
                return Ok(());
            }
        }
    }

    fn skip_line(&mut self) {
        self.advance(self.rest.find('\n').map_or(self.rest.len(), |end| end + 1));
    }

    /// Any other statement, up to and including its semicolon.
    fn skip_statement(&mut self) -> Result<(), ScriptError> {
        loop {
            self.skip_blank()?;
            match self.rest.chars().next() {
                None => return Ok(()),
                Some('\'') => _ = self.text()?,
                Some(c) => {
                    self.advance(c.len_utf8());
                    if c == ';' {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn advance(&mut self, bytes: usize) {
        let (passed, rest) = self.rest.split_at(bytes);
        self.line += passed.bytes().filter(|b| *b == b'\n').count();
        self.rest = rest;
    }

    fn error(&self, expected: &str) -> ScriptError {
        let found = match self.rest.lines().next() {
            Some(line) => format!("`{}`", line.chars().take(40).collect::<String>()),
            None => "the end of the script".to_owned(),
        };
        ScriptError { line: self.line, expected: expected.to_owned(), found }
    }
}

/// The run of letters, digits and `_` that the text begins with.
fn word_at(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(sql: &str) -> Vec<Vec<Literal>> {
        let all = inserts(sql).unwrap();
        all.into_iter().flat_map(|insert| insert.rows).map(|row| row.values).collect()
    }

    fn text(text: &str) -> Literal {
        Literal::Text(text.to_owned())
    }

    fn number(text: &str) -> Literal {
        Literal::Number(text.to_owned())
    }

    #[test]
    fn values_are_read_as_they_are_written() {
        assert_eq!(
            values(
                "INSERT INTO t (a, b, c, d) VALUES\n (N'D''Arc; (1), --', '2009/1/1', -1.98, NULL),\n (N'', N'''', 7, N'é\n’');"
            ),
            [
                vec![text("D'Arc; (1), --"), text("2009/1/1"), number("-1.98"), Literal::Null],
                vec![text(""), text("'"), number("7"), text("é\n’")],
            ]
        );
    }

    #[test]
    fn everything_else_is_passed_over() {
        let script = "/* INSERT INTO x */ CREATE TABLE a (b text DEFAULT 'x;\nINSERT');\n\\c db;\n-- INSERT INTO\ninsert into a (b) values (1); DROP TABLE a";
        let all = inserts(script).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].table.as_str(), all[0].line, all[0].rows[0].line), ("a", 5, 5));
        assert_eq!(inserts("").unwrap(), []);
        assert_eq!(inserts("INSERTS INTO a;").unwrap(), []);
    }

    #[test]
    fn what_is_not_understood_is_an_error_with_its_line() {
        for (script, message) in [
            ("INSERT INTO a (b)\nVALUES (1)", "line 2: expected `;`, found the end of the script"),
            ("INSERT INTO a (b) VALUES\n(1),\n(1, 2);", "line 3: expected 1 values for `a`, found 2"),
            ("INSERT INTO a (b) VALUES (now());", "line 1: expected a value, found `now());`"),
            ("INSERT INTO a (b) VALUES (1.2.3);", "line 1: expected a value, found `1.2.3);`"),
            ("INSERT INTO a (b) VALUES (1.);", "line 1: expected a value, found `1.);`"),
            ("\nINSERT INTO a (b) VALUES ('x\n\n;", "line 2: expected a text that ends, found none"),
            ("INSERT INTO a VALUES (1);", "line 1: expected `(`, found `VALUES (1);`"),
            ("INSERT INTO a () VALUES (1);", "line 1: expected a name, found `) VALUES (1);`"),
            ("\n/* x", "line 2: expected a comment that ends, found `/* x`"),
        ] {
            assert_eq!(inserts(script).unwrap_err().to_string(), message);
        }
    }
}
