//! The manual is the test: help, configuration and mistakes, as they are printed.

#[test]
fn the_command_line_says_what_the_manual_says() {
    trycmd::TestCases::new()
        .case("tests/texts/*.trycmd")
        .env("HOME", "/nonexistent")
        .env("COLUMNS", "100");
}
