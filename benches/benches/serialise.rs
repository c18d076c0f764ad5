//! Writing and reading of ciphertexts and keys, to and from memory, on one thread.

use criterion::{Criterion, criterion_group, criterion_main};
use touchstone_benches::{Fixture, use_one_thread};
use touchstone_ckks::ckks::serialise::{
    read_ciphertexts, read_evaluation_keys, read_public_key, write_ciphertexts, write_evaluation_keys, write_public_key,
};

fn serialise(criterion: &mut Criterion) {
    use_one_thread();
    let mut group = criterion.benchmark_group("serialise");
    group.sample_size(10);
    for fixture in Fixture::fastest() {
        let context = fixture.context();
        let public = fixture.generator().public_key(fixture.secret()).expect("own secret");
        let keys = fixture.keys_with(|generator, secret| generator.relinearisation_key(secret, fixture.level()));
        let ciphertexts = [fixture.ciphertext(0)];
        let write = |what: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = Vec::new();
            what(&mut bytes);
            bytes
        };
        let write_ct = || write(&|out| write_ciphertexts(out, context, &ciphertexts).expect("memory"));
        let write_public = || write(&|out| write_public_key(out, context, &public).expect("memory"));
        let write_keys = || write(&|out| write_evaluation_keys(out, context, &keys).expect("memory"));
        let files = [write_ct(), write_public(), write_keys()];
        let mut run = |name: &str, work: &dyn Fn()| {
            group.bench_function(format!("{}/{name}", fixture.label()), |bencher| bencher.iter(work));
        };
        run("write ciphertext", &|| drop(write_ct()));
        run("read ciphertext", &|| drop(read_ciphertexts(&files[0][..], context).expect("just written")));
        run("write public key", &|| drop(write_public()));
        run("read public key", &|| drop(read_public_key(&files[1][..], context).expect("just written")));
        run("write relinearisation key", &|| drop(write_keys()));
        run("read relinearisation key", &|| drop(read_evaluation_keys(&files[2][..], context).expect("just written")));
    }
    group.finish();
}

criterion_group!(benches, serialise);
criterion_main!(benches);
