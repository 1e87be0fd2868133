//! The client against the simulator, over real HTTP.
