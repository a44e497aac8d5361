//! What Hugging Face gives chat templates beyond Jinja: `raise_exception`, `strftime_now`, Python's
//! `tojson` and string methods.

use std::borrow::Cow;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// Marks the error of `raise_exception`, whose message is the template's.
pub(crate) const RAISED: &str = "raised by the template: ";

pub(crate) fn install(environment: &mut Environment<'static>) {
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_filter("tojson", to_json);
    environment.add_test("iterable", is_iterable);
}

/// As in Python, where `None` cannot be iterated over, but strings and undefined values can.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && (value.is_undefined() || value.as_str().is_some() || value.try_iter().is_ok())
}

/// Turns `{% generation %}`, by which Hugging Face marks what a model said, into a block without effect.
pub(crate) fn replace_generation_blocks(source: &str) -> Cow<'_, str> {
    if !source.contains("generation") {
        return Cow::Borrowed(source);
    }
    let mut replaced = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, tag)) = rest.split_once("{%") {
        let Some((tag, after)) = tag.split_once("%}") else { break };
        replaced.push_str(before);
        replaced.push_str("{%");
        match tag.trim_matches(['-', '+']).trim() {
            "generation" => replaced.push_str(&tag.replacen("generation", "if true", 1)),
            "endgeneration" => replaced.push_str(&tag.replacen("endgeneration", "endif", 1)),
            _ => replaced.push_str(tag),
        }
        replaced.push_str("%}");
        rest = after;
    }
    replaced.push_str(rest);
    Cow::Owned(replaced)
}

fn raise_exception(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, format!("{RAISED}{message}")))
}

/// The present date and time (UTC) in the form of Python's `strftime`.
fn strftime_now(format: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    strftime(format, now)
}

/// `json.dumps(value, ensure_ascii=False)` with its spaces after comma and colon, or `indent`ed.
fn to_json(value: Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    for name in ["ensure_ascii", "separators", "sort_keys"] {
        let _: Option<Value> = options.get(name)?;
    }
    options.assert_all_used()?;
    let spaces = " ".repeat(indent.unwrap_or(0).min(16));
    let json = match indent {
        Some(_) => write_json(&value, PrettyFormatter::with_indent(spaces.as_bytes())),
        None => write_json(&value, PythonFormatter(CompactFormatter)),
    };
    json.map_err(|error| Error::new(ErrorKind::BadSerialization, "tojson").with_source(error))
}

/// Most bytes that one `tojson` may write. A list can hold itself many times over, so that a few steps of a
/// template build what would fill the memory when written out.
const MAX_JSON_BYTES: usize = 16 << 20;

fn write_json(value: &Value, formatter: impl Formatter) -> serde_json::Result<String> {
    let mut json = BoundedWriter(Vec::new());
    value.serialize(&mut Serializer::with_formatter(&mut json, formatter))?;
    Ok(String::from_utf8_lossy(&json.0).into_owned())
}

struct BoundedWriter(Vec<u8>);

impl io::Write for BoundedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_JSON_BYTES {
            return Err(io::Error::other(format!("more than {MAX_JSON_BYTES} bytes of JSON")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// JSON on one line, spaced as Python does.
struct PythonFormatter(CompactFormatter);

impl Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Formats a Unix time; a letter that is not known stays as it is.
fn strftime(format: &str, unix_seconds: u64) -> String {
    let (days, seconds) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let month_name = MONTHS[month as usize - 1];
    let day_name = DAYS[((days + 3) % 7) as usize]; // 1970-01-01 was a Thursday.
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        match chars.next() {
            Some('Y') => text += &format!("{year:04}"),
            Some('y') => text += &format!("{:02}", year % 100),
            Some('m') => text += &format!("{month:02}"),
            Some('d') => text += &format!("{day:02}"),
            Some('e') => text += &format!("{day:2}"),
            Some('B') => text += month_name,
            Some('b' | 'h') => text += &month_name[..3],
            Some('A') => text += day_name,
            Some('a') => text += &day_name[..3],
            Some('H') => text += &format!("{hour:02}"),
            Some('I') => text += &format!("{:02}", (hour + 11) % 12 + 1),
            Some('p') => text += if hour < 12 { "AM" } else { "PM" },
            Some('M') => text += &format!("{minute:02}"),
            Some('S') => text += &format!("{second:02}"),
            Some('F') => text += &format!("{year:04}-{month:02}-{day:02}"),
            Some('T') => text += &format!("{hour:02}:{minute:02}:{second:02}"),
            Some('Z') => text += "UTC",
            Some('%') | None => text.push('%'),
            Some(other) => text.extend(['%', other]),
        }
    }
    text
}

/// Year, month and day of a day since 1970-01-01 in the Gregorian calendar (Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms").
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str) -> String {
        let mut environment = Environment::new();
        install(&mut environment);
        environment.render_str(source, ()).unwrap()
    }

    #[test]
    fn dates_follow_the_calendar() {
        assert_eq!(strftime("%Y-%m-%d %H:%M:%S %a", 0), "1970-01-01 00:00:00 Thu");
        assert_eq!(strftime("%d %b %Y, %A %I %p", 951_782_400), "29 Feb 2000, Tuesday 12 AM");
        assert_eq!(strftime("%e %B %y %% %q%", 1_764_115_199), "25 November 25 % %q%");
        assert_eq!(strftime("%F %T", 1_764_115_199), "2025-11-25 23:59:59");
    }

    #[test]
    fn json_is_spaced_as_in_python() {
        assert_eq!(render("{{ {'b': [1, 'é<'], 'a': none}|tojson }}"), r#"{"b": [1, "é<"], "a": null}"#);
        assert_eq!(render("{{ [1]|tojson(indent=2) }}"), "[\n  1\n]");
    }

    #[test]
    fn generation_blocks_have_no_effect() {
        let source =
            "a {%- generation -%} b {% endgeneration %}{% set generation = 1 %}{{ 'generation' }} {%";
        let replaced = replace_generation_blocks(source);
        assert_eq!(replaced, "a {%- if true -%} b {% endif %}{% set generation = 1 %}{{ 'generation' }} {%");
        assert_eq!(replace_generation_blocks("{%-endgeneration%}"), "{%-endif%}");
        // Found by the fuzz target: no tag, because the signs overlap.
        assert_eq!(replace_generation_blocks("{%}generation{% %}"), "{%}generation{% %}");
    }

    #[test]
    fn none_is_not_iterable() {
        assert_eq!(
            render("{{ none is iterable }} {{ x is iterable }} {{ 'a' is iterable }} {{ 1 is iterable }}"),
            "False True True False"
        );
    }

    #[test]
    fn constants_print_as_in_python() {
        assert_eq!(render("{{ true }} {{ none }} {{ 1 == 2 }} {{ 1 }} {{ 'a' }}"), "True None False 1 a");
    }
}
