//! The record of something that happened in the program.

use super::family;
use crate::record::words;

words! {
    /// Sort of a system event.
    EventKind, "event type" {
        /// Something failed.
        Error = "error",
        /// Something may fail.
        Warning = "warning",
        /// For information.
        Info = "info",
        /// Of interest to those who guard the system.
        Security = "security",
        /// Something was slow or large.
        Performance = "performance",
    }
}

family! {
    /// Something that happened in the program, with the place in its source. What becomes of it are
    /// [`Transition`](super::Transition)s, as of a violation.
    ///
    /// ```
    /// use audit_core::{EventKind, SystemEvent};
    /// let event = SystemEvent::new(EventKind::Error, "payment provider down").description("no answer in 30 s").error_code("E42").here();
    /// assert!(event.file.is_some());
    /// ```
    SystemEvent in "audit_system_event" {
        /// Sort of event.
        event_type: EventKind = word,
        /// What happened, in a line.
        title: String = text,
        /// More of it.
        description: Option<String> = text,
        /// Module of the program.
        module: Option<String> = name(255),
        /// Function, or the innermost span of `tracing`.
        function: Option<String> = name(255),
        /// File of the source.
        file: Option<String> = name(255),
        /// Line in the file.
        line: Option<i32> = word,
        /// Code of the error.
        error_code: Option<String> = name(100),
        /// What led to it: a stack trace, or the chain of causes.
        stack_trace: Option<String> = text,
    }
}

impl SystemEvent {
    /// An event with a title.
    pub fn new(event_type: EventKind, title: impl Into<String>) -> Self {
        Self {
            event_type,
            title: title.into(),
            description: None,
            module: None,
            function: None,
            file: None,
            line: None,
            error_code: None,
            stack_trace: None,
        }
    }

    /// Says more of it.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Names module and function.
    #[must_use]
    pub fn origin(mut self, module: impl Into<String>, function: impl Into<String>) -> Self {
        self.module = Some(module.into());
        self.function = Some(function.into());
        self
    }

    /// Takes file and line of the caller.
    #[must_use]
    #[track_caller]
    pub fn here(mut self) -> Self {
        let place = std::panic::Location::caller();
        self.file = Some(place.file().to_owned());
        self.line = i32::try_from(place.line()).ok();
        self
    }

    /// Sets the code of the error.
    #[must_use]
    pub fn error_code(mut self, code: impl ToString) -> Self {
        self.error_code = Some(code.to_string());
        self
    }

    /// Says what led to it.
    #[must_use]
    pub fn stack_trace(mut self, trace: impl ToString) -> Self {
        self.stack_trace = Some(trace.to_string());
        self
    }

    /// Takes description and chain of causes from an error.
    #[must_use]
    pub fn error(mut self, error: &dyn std::error::Error) -> Self {
        self.description = Some(error.to_string());
        let causes: Vec<_> =
            std::iter::successors(error.source(), |cause| cause.source()).map(ToString::to_string).collect();
        if !causes.is_empty() {
            self.stack_trace = Some(causes.join("\ncaused by: "));
        }
        self
    }
}
