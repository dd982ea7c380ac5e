//! Generates the message types; `protox` stands in for an installed `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in ["onnx.proto", "program.proto"] {
        println!("cargo:rerun-if-changed={file}");
        let messages = protox::compile([file], ["."])?;
        prost_build::Config::new().bytes([".onnx.TensorProto.raw_data"]).compile_fds(messages)?;
    }
    Ok(())
}
