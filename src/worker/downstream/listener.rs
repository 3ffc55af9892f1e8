//! A listener of a worker.

use std::rc::Rc;

use crate::config;
use crate::http2::Bounds;
use crate::http2::guard::Budgets;
use crate::net::listener::Listener;
use crate::worker::call::cors;

/// A listener of a worker: its socket, and what the operator set.
pub(in crate::worker) struct ListenerState {
    pub(in crate::worker) number: usize,
    pub(in crate::worker) settings: config::Listener,
    /// The bounds of an HTTP/2 connection by these settings.
    pub(in crate::worker) bounds: Rc<Bounds>,
    /// The listener's CORS policy, if it has one.
    pub(in crate::worker) cors: Option<cors::Policy>,
    pub(in crate::worker) socket: Listener,
}

impl ListenerState {
    pub(in crate::worker) fn new(
        number: usize,
        settings: config::Listener,
        socket: Listener,
    ) -> Rc<ListenerState> {
        let cors = cors::Policy::new(&settings.cors);
        let bounds = Rc::new(bounds(&settings));
        Rc::new(ListenerState { number, settings, bounds, cors, socket })
    }
}

/// Bounds towards clients.
fn bounds(listener: &config::Listener) -> Bounds {
    let settings = &listener.http2;
    Bounds {
        max_concurrent_streams: settings.max_concurrent_streams,
        stream_window: settings.initial_stream_window_size,
        max_stream_window: (settings.initial_connection_window_size / 4)
            .max(settings.initial_stream_window_size),
        connection_window: settings.initial_connection_window_size,
        max_frame_size: settings.max_frame_size,
        max_header_list_size: settings.max_header_list_size,
        // The call's own check counts them, which can answer its caller.
        max_headers_count: u32::MAX,
        max_send_buffer_size: settings.max_send_buffer_size,
        max_continuations: settings.max_continuations,
        min_send_rate: listener.min_rate,
        budgets: Budgets {
            resets: settings.max_resets_per_second,
            pings: settings.max_pings_per_second,
            settings: settings.max_settings_per_second,
            empty_frames: settings.max_empty_frames_per_second,
            window_updates: settings.max_window_updates_per_second,
            priorities: settings.max_priority_frames_per_second,
        },
    }
}
