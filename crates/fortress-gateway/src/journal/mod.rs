//! The one place that records requests.
