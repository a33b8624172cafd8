//! Who may do what: peers, groups and rules, as data. Pure.
