//! The queue between the spans that end and the collector, and the task that empties it.
//!
//! The queue is short and never waited for: a collector that is slow or gone loses spans, and nobody
//! waits. The log says so once, and once when it is over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ipfs_cluster_protocol::limits::{SPAN_BATCH_MAX, SPAN_QUEUE_MAX};
use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanExporter, SpanProcessor},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};

/// How long a collector may take to answer.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long spans are gathered before they are sent.
const GATHER_TIME: Duration = Duration::from_secs(1);
/// How long a collector that failed is left alone.
const REST_TIME: Duration = Duration::from_secs(5);
/// How long the last spans may take at the end.
const FINISH_MAX: Duration = Duration::from_secs(2);

/// Where spans go when they end.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    lost: Arc<AtomicU64>,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The task that sends.
#[derive(Debug)]
pub(super) struct Sender {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Sender {
    pub(super) fn start<E: SpanExporter + 'static>(
        mut exporter: E,
        resource: &Resource,
        url: String,
    ) -> (Self, Queue) {
        exporter.set_resource(resource);
        let (spans, queue) = mpsc::channel(SPAN_QUEUE_MAX);
        let (stop, stopped) = watch::channel(false);
        let lost = Arc::new(AtomicU64::new(0));
        let sending = Sending {
            exporter,
            queue,
            lost: lost.clone(),
            url,
            failing: false,
        };
        let task = tokio::spawn(sending.run(stopped));
        (Self { stop, task }, Queue { spans, lost })
    }

    /// Sends what is in the queue, and ends.
    pub(super) async fn finish(self) {
        self.stop.send_replace(true);
        let abort = self.task.abort_handle();
        if timeout(FINISH_MAX, self.task).await.is_err() {
            abort.abort();
        }
    }
}

struct Sending<E> {
    exporter: E,
    queue: mpsc::Receiver<SpanData>,
    lost: Arc<AtomicU64>,
    url: String,
    failing: bool,
}

impl<E: SpanExporter> Sending<E> {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let mut batch = Vec::new();
            let stopped = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => true,
                () = gather(&mut self.queue, &mut batch) => false,
            };
            if stopped {
                return self.empty(batch).await;
            }
            if !self.send(batch).await {
                tokio::select! {
                    biased;
                    _ = stop.wait_for(|stop| *stop) => {}
                    () = sleep(REST_TIME) => {}
                }
            }
        }
    }

    /// Sends all that is left, unless the collector fails.
    async fn empty(&mut self, mut batch: Vec<SpanData>) {
        loop {
            while batch.len() < SPAN_BATCH_MAX
                && let Ok(span) = self.queue.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() || !self.send(std::mem::take(&mut batch)).await {
                return;
            }
        }
    }

    /// Whether the collector took them.
    async fn send(&mut self, batch: Vec<SpanData>) -> bool {
        let count = batch.len() as u64;
        let sent = timeout(ANSWER_MAX, self.exporter.export(batch)).await;
        let why = match sent {
            Ok(Ok(())) => None,
            Ok(Err(e)) => Some(e.to_string()),
            Err(_) => Some(format!("no answer within {ANSWER_MAX:?}")),
        };
        let failed = why.is_some();
        if let Some(why) = why {
            self.lost.fetch_add(count, Ordering::Relaxed);
            if !self.failing {
                tracing::warn!(collector = self.url, why, "spans cannot be sent");
            }
        } else if self.failing {
            let lost = self.lost.swap(0, Ordering::Relaxed);
            tracing::info!(collector = self.url, lost, "spans are sent again");
        }
        self.failing = failed;
        !failed
    }
}

/// Waits for a span, and a little for more. What was taken is in `batch` also when this is dropped.
async fn gather(queue: &mut mpsc::Receiver<SpanData>, batch: &mut Vec<SpanData>) {
    let Some(span) = queue.recv().await else {
        // The spans' end is gone: nothing comes until the stop.
        return std::future::pending().await;
    };
    batch.push(span);
    let until = Instant::now() + GATHER_TIME;
    while batch.len() < SPAN_BATCH_MAX {
        match timeout_at(until, queue.recv()).await {
            Ok(Some(span)) => batch.push(span),
            Ok(None) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Tracer, TracerProvider};
    use opentelemetry_sdk::{error::OTelSdkError, trace::SdkTracerProvider};

    use super::*;

    /// Hands on how many came in each batch, and fails when it is told to.
    #[derive(Debug)]
    struct Counting {
        batches: mpsc::Sender<usize>,
        down: watch::Receiver<bool>,
    }

    impl SpanExporter for Counting {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            if *self.down.borrow() {
                return Err(OTelSdkError::InternalFailure("down".to_owned()));
            }
            self.batches.send(batch.len()).await.unwrap();
            Ok(())
        }
    }

    struct Rig {
        provider: SdkTracerProvider,
        sender: Sender,
        lost: Arc<AtomicU64>,
        batches: mpsc::Receiver<usize>,
        down: watch::Sender<bool>,
    }

    fn rig() -> Rig {
        let (tx, batches) = mpsc::channel(64);
        let down = watch::Sender::new(false);
        let exporter = Counting {
            batches: tx,
            down: down.subscribe(),
        };
        let (sender, queue) = Sender::start(exporter, &Resource::builder().build(), "u".into());
        let lost = queue.lost.clone();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(queue)
            .build();
        Rig {
            provider,
            sender,
            lost,
            batches,
            down,
        }
    }

    impl Rig {
        fn spans(&self, count: usize) {
            let tracer = self.provider.tracer("t");
            (0..count).for_each(|_| drop(tracer.start("s")));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn spans_go_in_batches_and_the_last_at_the_end() {
        let mut rig = rig();
        rig.spans(SPAN_BATCH_MAX + 3);
        assert_eq!(rig.batches.recv().await, Some(SPAN_BATCH_MAX));
        assert_eq!(rig.batches.recv().await, Some(3));
        rig.spans(2);
        rig.sender.finish().await;
        assert_eq!(rig.batches.recv().await, Some(2));
        assert_eq!(rig.lost.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_is_down_loses_spans_and_gets_later_ones() {
        let mut rig = rig();
        rig.down.send_replace(true);
        let many = SPAN_QUEUE_MAX + 500;
        rig.spans(many);
        assert_eq!(rig.lost.load(Ordering::Relaxed), 500);
        sleep(GATHER_TIME * 2).await;
        rig.down.send_replace(false);
        // One batch was lost to the collector; the rest of the queue comes.
        let mut came = 0;
        while came < SPAN_QUEUE_MAX - SPAN_BATCH_MAX {
            came += rig.batches.recv().await.unwrap();
        }
        assert_eq!(came, SPAN_QUEUE_MAX - SPAN_BATCH_MAX);
        rig.sender.finish().await;
    }
}
