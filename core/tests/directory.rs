//! The reader finds in every fixture what the generator wrote.

use picolm_core::gguf::Gguf;

#[test]
fn directories_are_read() {
    for fixture in picolm_fixtures::all() {
        let bytes = fixture.bytes();
        let gguf = Gguf::parse(&bytes, bytes.len() as u64).expect(fixture.name);
        assert_eq!(gguf.version(), fixture.version, "{}", fixture.name);
        assert_eq!(gguf.string("general.name"), Ok(Some(fixture.name.as_bytes())));
        assert_eq!(
            gguf.u32(&format!("{}.embedding_length", fixture.family.name)),
            Ok(Some(fixture.shape.hidden as u32))
        );
        let tokens = gguf.array("tokenizer.ggml.tokens").expect(fixture.name).expect(fixture.name);
        assert_eq!(tokens.len(), fixture.vocabulary.token_count(), "{}", fixture.name);
        let written = fixture.tensors();
        assert_eq!(gguf.tensors().len(), written.len(), "{}", fixture.name);
        for tensor in written {
            let found = gguf.tensor(&tensor.name).expect(&tensor.name);
            assert_eq!((found.columns, found.rows), (tensor.columns, tensor.rows.unwrap_or(1)));
            assert_eq!(found.format.id, tensor.kind.id(), "{}", tensor.name);
            assert_eq!(found.format.block_bytes, tensor.kind.block_bytes(), "{}", tensor.name);
        }
        let end = gguf.tensors().iter().map(|tensor| tensor.offset + tensor.bytes()).max();
        assert_eq!(end.map(|end| end.next_multiple_of(32)), Some(bytes.len() as u64));
    }
}
