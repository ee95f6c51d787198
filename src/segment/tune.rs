use std::sync::OnceLock;
pub fn get(name: &str, default: f64) -> f64 {
    static M: OnceLock<std::collections::HashMap<String, f64>> = OnceLock::new();
    *M.get_or_init(|| {
        std::env::vars()
            .filter_map(|(k, v)| v.parse().ok().map(|v| (k, v)))
            .collect()
    })
    .get(name)
    .unwrap_or(&default)
}
