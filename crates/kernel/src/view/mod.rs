//! What people and programs look at: pure projections of events and state.
