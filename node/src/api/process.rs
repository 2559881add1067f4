//! What the process uses, under the names that every Prometheus client library gives it.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::env::real::ProcessUsage;

/// Asks for the usage; nothing where it is not known.
pub type ProcessMeter = fn() -> Option<ProcessUsage>;

/// Makes a registry expose it.
pub(crate) fn register(registry: &mut Registry, meter: ProcessMeter) {
    registry.register_collector(Box::new(Process(meter)));
}

#[derive(Debug)]
struct Process(ProcessMeter);

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(now) = (self.0)() else {
            return Ok(());
        };
        let (name, help) = ("process_cpu_seconds", "Processor time used");
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(now.cpu.as_secs_f64()).encode(metric)?;
        let gauges = [
            (
                "process_resident_memory_bytes",
                "Memory in use",
                Some(now.resident),
            ),
            (
                "process_virtual_memory_bytes",
                "Address space",
                Some(now.mapped),
            ),
            (
                "process_open_fds",
                "Open files and connections",
                Some(now.open_files),
            ),
            (
                "process_max_fds",
                "How many may be open",
                now.open_files_limit,
            ),
            (
                "process_start_time_seconds",
                "Start, in seconds since 1970",
                Some(now.started),
            ),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric)?;
        }
        Ok(())
    }
}
