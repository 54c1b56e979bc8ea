//! What every crate needs of the process it runs in, and nothing of a database: the clock and chance ([`clock`], [`rng`]),
//! waking those who wait for a change ([`Notifier`]), what to do about an error ([`ErrorClass`]) and how often to try
//! again ([`RetryPolicy`]), threads whose work may wait ([`background`]), metrics ([`metrics`]), and what no text may show ([`redact`]).

pub mod background;
pub mod clock;
mod error_class;
pub mod metrics;
mod notifier;
pub mod redact;
mod retry;
pub mod rng;
mod simulated;

pub use error_class::ErrorClass;
pub use notifier::{Notifier, Subscription};
pub use retry::{Attempts, RetryPolicy};
pub use simulated::{Simulated, simulate};
