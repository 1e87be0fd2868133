//! Built for a contract that this host does not serve.

wit_bindgen::generate!({
    inline: "
        package tests:guest;
        world guest {
            import ligature:mapping/log@2.0.0;
            export answer: func() -> u32;
        }
        package ligature:mapping@2.0.0 {
            interface log {
                write: func(text: string);
            }
        }
    ",
    generate_all,
});

struct Guest_;

export!(Guest_);

impl Guest for Guest_ {
    fn answer() -> u32 {
        ligature::mapping::log::write("");
        0
    }
}
