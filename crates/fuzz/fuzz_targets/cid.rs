//! Content ids: what parses comes back the same from its bytes and its text.
#![no_main]

use cardume_content::Cid;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(cid) = Cid::from_bytes(data) {
        assert_eq!(cid.to_bytes(), data);
    }
    if let Some(cid) = std::str::from_utf8(data)
        .ok()
        .and_then(|text| text.parse::<Cid>().ok())
    {
        assert_eq!(cid.to_string().parse(), Ok(cid));
        assert_eq!(Cid::from_bytes(&cid.to_bytes()), Ok(cid));
    }
});
