//! Real nodes, hostile peers and network namespaces for tests.
