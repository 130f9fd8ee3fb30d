// Judges tokens and DPoP proofs with npm's `jose`, as strictly as it can be told to. Standard input
// has the keys, what is expected, the tokens and the proofs; standard output gets the verdicts.
import { readFileSync } from 'node:fs';
import { EmbeddedJWK, calculateJwkThumbprint, createLocalJWKSet, jwtVerify } from 'jose';

const { keys, issuer, audience, now, tokens, proofs } = JSON.parse(readFileSync(0, 'utf8'));
const set = createLocalJWKSet(keys);
const currentDate = new Date(now * 1000);

const token = (text) =>
  jwtVerify(text, set, { issuer, audience, requiredClaims: ['exp'], clockTolerance: 0, currentDate });
const proof = async (text) => {
  const { protectedHeader } = await jwtVerify(text, EmbeddedJWK, {
    typ: 'dpop+jwt', maxTokenAge: 60, clockTolerance: 0, currentDate, requiredClaims: ['jti', 'htm', 'htu', 'iat'],
  });
  return calculateJwkThumbprint(protectedHeader.jwk);
};
const verdict = (promise) => promise.then((value) => value ?? true, (error) => ({ error: error.code ?? error.name }));

console.log(JSON.stringify({
  tokens: await Promise.all(tokens.map((text) => verdict(token(text).then(() => true)))),
  proofs: await Promise.all(proofs.map((text) => verdict(proof(text)))),
}));
