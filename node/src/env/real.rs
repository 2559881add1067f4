//! The real side of the doors.
