//! What people write, and what is written back.
use cardume_units::{Duration, Limit, Rate, Size};
use proptest::prelude::*;

fn duration(text: &str) -> std::time::Duration {
    text.parse::<Duration>().expect("a duration").get()
}

#[test]
fn durations_are_read_as_people_write_them() {
    assert_eq!(duration("30s"), std::time::Duration::from_secs(30));
    assert_eq!(duration("1h30m"), std::time::Duration::from_secs(5_400));
    assert_eq!(duration(" 1h 30m "), std::time::Duration::from_secs(5_400));
    assert_eq!(duration("500ms"), std::time::Duration::from_millis(500));
    assert_eq!(duration("2d"), std::time::Duration::from_secs(172_800));
    assert_eq!(duration("1w"), std::time::Duration::from_secs(604_800));
    assert_eq!(duration("1.5s"), std::time::Duration::from_millis(1_500));
    assert_eq!(duration("10µs"), std::time::Duration::from_micros(10));
    assert_eq!(duration("0s"), std::time::Duration::ZERO);
}

#[test]
fn durations_are_shown_in_their_shortest_form() {
    for text in [
        "30s", "1h30m", "500ms", "2d", "1d12h", "1m30s", "1s500ms", "1us", "7ns", "0s", "12h",
    ] {
        assert_eq!(text.parse::<Duration>().unwrap().to_string(), text);
    }
    assert_eq!(Duration::from_secs(90).to_string(), "1m30s");
    assert_eq!(Duration::from_hours(24).to_string(), "1d");
}

#[test]
fn sizes_are_read_and_shown_in_their_shortest_form() {
    for (text, bytes) in [
        ("0B", 0),
        ("4MiB", 4 << 20),
        ("20MB", 20_000_000),
        ("1GiB", 1 << 30),
        ("1kB", 1_000),
        ("1KiB", 1_024),
        ("1536B", 1_536),
        ("16EB", 16_000_000_000_000_000_000),
        ("18446744073709551615B", u64::MAX),
    ] {
        assert_eq!(text.parse::<Size>().unwrap(), Size(bytes), "{text}");
        assert_eq!(Size(bytes).to_string(), text);
    }
    assert_eq!("1.5 GiB".parse(), Ok(Size(3 << 29)));
    assert_eq!("5KB".parse(), Ok(Size(5_000)));
    assert_eq!(format!("{:>6}", Size::mib(4)), "  4MiB");
}

#[test]
fn rates_are_sizes_a_second() {
    assert_eq!("20MB/s".parse(), Ok(Rate::mb_per_sec(20)));
    assert_eq!(Rate(512 << 10).to_string(), "512KiB/s");
}

#[test]
fn rates_may_be_written_in_bits_and_sizes_may_not() {
    assert_eq!("100Mbit/s".parse(), Ok(Rate(12_500_000)));
    assert_eq!("1Gbit/s".parse(), Ok(Rate::mb_per_sec(125)));
    assert_eq!("0.512 kbit/s".parse(), Ok(Rate(64)));
    assert!("100Mbit".parse::<Size>().is_err());
}

#[test]
fn a_limit_is_a_rate_or_none() {
    assert_eq!("20MB/s".parse(), Ok(Limit(Some(Rate::mb_per_sec(20)))));
    assert_eq!(" unlimited ".parse(), Ok(Limit::default()));
    assert_eq!(Limit::default().to_string(), "unlimited");
    assert_eq!(Limit(Some(Rate(1_500))).to_string(), "1500B/s");
}

#[test]
fn mistakes_are_named_and_examples_given() {
    let shown = |result: Result<String, cardume_units::ParseUnitError>| result.unwrap_err().to_string();
    let duration = |text: &str| shown(text.parse::<Duration>().map(|d| d.to_string()));
    let size = |text: &str| shown(text.parse::<Size>().map(|s| s.to_string()));
    let rate = |text: &str| shown(text.parse::<Rate>().map(|r| r.to_string()));
    let mistakes = [
        duration(""),
        duration("30"),
        duration("-1s"),
        duration("5 parsecs"),
        duration("30m1h"),
        duration("0.1ns"),
        duration("99999999999999999999s"),
        duration("9999999999999999999w"),
        size("4"),
        size("4M"),
        size("4mib"),
        size("0.1B"),
        size("17EiB"),
        size("4MiB/s"),
        size("4MiB 2"),
        rate("20MB"),
        rate("fast"),
        size(&"x".repeat(1_000)),
    ];
    assert_eq!(mistakes.join("\n") + "\n", include_str!("mistakes.txt"));
}

#[test]
fn bare_numbers_are_refused_in_toml_and_json() {
    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "only refusals are looked at")]
    struct Table {
        wait: Duration,
    }
    let error = toml::from_str::<Table>("wait = 30").unwrap_err();
    assert!(
        error
            .message()
            .contains("30 has no unit; write a text such as \"30s\""),
        "{error}"
    );
    let error = serde_json::from_str::<Size>("4194304").unwrap_err();
    assert!(error.to_string().contains("\"4MiB\""), "{error}");
    let error = serde_json::from_str::<Rate>("1.5").unwrap_err();
    assert!(error.to_string().contains("\"20MB/s\""), "{error}");
    let error = serde_json::from_str::<Rate>("[]").unwrap_err();
    assert!(error.to_string().contains("a text with a unit"), "{error}");
}

#[test]
fn the_schema_shows_examples() {
    let schema = schemars::schema_for!(Rate);
    assert_eq!(schema.get("type").unwrap(), "string");
    assert_eq!(schema.get("examples").unwrap()[0], "20MB/s");
}

proptest! {
    #[test]
    fn what_is_shown_is_read_back(nanos in any::<u32>(), secs in any::<u64>(), bytes in any::<u64>(), shift in 0..64_u32) {
        let span = Duration(std::time::Duration::new(secs >> shift, nanos % 1_000_000_000));
        prop_assert_eq!(span.to_string().parse(), Ok(span));
        let size = Size(bytes >> shift);
        prop_assert_eq!(size.to_string().parse(), Ok(size));
        let size = Size((bytes >> shift) << (shift / 2));
        prop_assert_eq!(size.to_string().parse(), Ok(size));
        let rate = Rate(bytes >> shift);
        prop_assert_eq!(rate.to_string().parse(), Ok(rate));
        prop_assert_eq!(serde_json::from_str::<Size>(&serde_json::to_string(&size).unwrap()).unwrap(), size);
    }

    #[test]
    fn no_text_makes_them_panic(text in "\\PC{0,30}|[0-9.]{0,25} ?(s|ms|w|EiB|B/s|EB)") {
        let _ = text.parse::<Duration>();
        let _ = text.parse::<Size>();
        let _ = text.parse::<Rate>();
    }
}
