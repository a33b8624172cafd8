//! Words for people: sizes, times, names from elsewhere.
use std::time::Duration;

/// `text` with control characters shown instead of obeyed: a peer must not move the cursor.
pub(crate) fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push(c),
            // Bidirectional overrides can make a name look like another.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => shown.extend(c.escape_unicode()),
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// `1.5 MiB`
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {name}")
    }
}

/// `1 file`, `3 files`
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Who may have something: `everybody`, `nobody`, `nas, group:web`
pub(crate) fn allowed(allow: Option<&[String]>) -> String {
    match allow {
        None => "everybody".into(),
        Some([]) => "nobody".into(),
        Some(words) => words.join(", "),
    }
}

/// `12.3 s`, `4 min 5 s`, `3 h 2 min`
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Seconds since 1970, in UTC, for people and programs.
pub(crate) fn moment(seconds: u64) -> String {
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| seconds.to_string(), |time| time.to_string())
}

/// Rows as a table for a person, or with tabs between for a program.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>, terminal: bool) -> String {
    let rows = rows.into_iter().map(|row| row.map(|cell| clean(&cell)));
    if !terminal {
        return rows.map(|row| row.join("\t") + "\n").collect();
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(head);
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table.add_rows(rows);
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_from_elsewhere_are_shown_and_not_obeyed() {
        assert_eq!(clean("a\u{1b}[2Jb\r\nc\td"), "a\\u{1b}[2Jb\\r\\nc\td");
        assert_eq!(clean("evil\u{202e}fdp.exe"), "evil\\u{202e}fdp.exe");
        assert_eq!(clean("São João 🐟"), "São João 🐟");
    }

    #[test]
    fn sizes_and_spans_read_well() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(u64::MAX), "16.0 EiB");
        assert_eq!(span(Duration::from_millis(1250)), "1.2 s");
        assert_eq!(span(Duration::from_secs(125)), "2 min 5 s");
        assert_eq!(span(Duration::from_secs(90_000)), "1 d 1 h");
    }

    #[test]
    fn a_program_gets_tabs_and_no_heading() {
        let rows = vec![["a\nb".to_owned(), "2".to_owned()]];
        assert_eq!(table(["name", "n"], rows, false), "a\\nb\t2\n");
    }
}
