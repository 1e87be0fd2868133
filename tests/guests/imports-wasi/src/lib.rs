//! Asks the system for its environment, as a component built for WASI does.

wit_bindgen::generate!({
    inline: "
        package tests:guest;
        world guest {
            import wasi:cli/environment@0.2.6;
            export answer: func() -> u32;
        }
        package wasi:cli@0.2.6 {
            interface environment {
                get-arguments: func() -> list<string>;
            }
        }
    ",
    generate_all,
});

struct Guest_;

export!(Guest_);

impl Guest for Guest_ {
    fn answer() -> u32 {
        wasi::cli::environment::get_arguments().len() as u32
    }
}
