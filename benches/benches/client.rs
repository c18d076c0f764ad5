//! What a client does: key generation, encoding, encryption, decryption, on one thread.

use criterion::{Criterion, criterion_group, criterion_main};
use touchstone_benches::{Fixture, use_one_thread};
use touchstone_ckks::{Encoder, Seed, decrypt, encrypt_public, encrypt_secret};

fn client(criterion: &mut Criterion) {
    use_one_thread();
    let mut group = criterion.benchmark_group("client");
    group.sample_size(10);
    for fixture in Fixture::fastest() {
        let (context, secret, level) = (fixture.context(), fixture.secret(), fixture.level());
        let (generator, encoder, seed) = (fixture.generator(), Encoder::new(context), Seed::insecure(3));
        let public = generator.public_key(secret).expect("own secret");
        let (ct, slots) = (fixture.ciphertext(0), fixture.slots(1));
        let encode = || encoder.encode(&slots, level, fixture.scale()).expect("small slots");
        let plain = encode();
        let mut run = |name: &str, work: &dyn Fn()| {
            group.bench_function(format!("{}/{name}", fixture.label()), |bencher| bencher.iter(work));
        };
        run("secret key", &|| drop(generator.secret_key()));
        run("public key", &|| drop(generator.public_key(secret).expect("own secret")));
        run("relinearisation key", &|| drop(generator.relinearisation_key(secret, level).expect("a valid level")));
        run("rotation key", &|| drop(generator.rotation_key(secret, 1, level).expect("a valid level")));
        run("encode", &|| drop(encode()));
        run("decode", &|| drop(encoder.decode(&plain).expect("own plaintext")));
        run("encrypt, public key", &|| drop(encrypt_public(context, &public, &plain, &seed, 0).expect("own keys")));
        run("encrypt, secret key", &|| drop(encrypt_secret(context, secret, &plain, &seed, 1).expect("own keys")));
        run("decrypt", &|| drop(decrypt(context, secret, &ct).expect("own ciphertext")));
    }
    group.finish();
}

criterion_group!(benches, client);
criterion_main!(benches);
