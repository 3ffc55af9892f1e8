//! Services that fail: deadlines, retries, hedging, breakers, outlier detection, health.

mod breaker;
mod delivered;
mod faults;
mod hedges;
mod hedging;
mod outages;
mod retries;
mod services;
mod simulation;
mod timeouts;
