/// Writes `tracing` events as JSON lines through the audit log's writer.
pub struct ProgramLog {}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for ProgramLog {}
