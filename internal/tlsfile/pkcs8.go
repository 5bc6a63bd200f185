package tlsfile

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
)

// Object identifiers of RFC 8018 (PKCS #5) and of the ciphers that OpenSSL uses with it.
var (
	oidPBES2      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidHMACSHA1   = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 7}
	oidHMACSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	oidHMACSHA512 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 11}
	oidAES128CBC  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}
	oidAES192CBC  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 22}
	oidAES256CBC  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
	oidDESEDE3CBC = asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 7}
)

// encryptedKey is EncryptedPrivateKeyInfo of RFC 5958.
type encryptedKey struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

type pbes2 struct {
	KDF, Cipher pkix.AlgorithmIdentifier
}

type pbkdf2Params struct {
	Salt       []byte
	Iterations int
	KeyLength  int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

// maxIterations keeps a broken file from costing minutes; OpenSSL writes 2,048.
const maxIterations = 10_000_000

// decryptPKCS8 decrypts a key in the form that "openssl genpkey -aes256" writes (PBES2 with PBKDF2).
func decryptPKCS8(der []byte, password string) ([]byte, error) {
	var key encryptedKey
	var scheme pbes2
	var kdf pbkdf2Params
	if _, err := asn1.Unmarshal(der, &key); err != nil {
		return nil, fmt.Errorf("parse encrypted key: %w", err)
	}
	if !key.Algorithm.Algorithm.Equal(oidPBES2) {
		return nil, fmt.Errorf("encrypted by scheme %s, want PBES2; convert it with openssl pkcs8 -topk8 -v2 aes256", key.Algorithm.Algorithm)
	}
	if _, err := asn1.Unmarshal(key.Algorithm.Parameters.FullBytes, &scheme); err != nil {
		return nil, fmt.Errorf("parse encryption scheme: %w", err)
	}
	if !scheme.KDF.Algorithm.Equal(oidPBKDF2) {
		return nil, fmt.Errorf("key derivation %s is not supported, want PBKDF2", scheme.KDF.Algorithm)
	}
	if _, err := asn1.Unmarshal(scheme.KDF.Parameters.FullBytes, &kdf); err != nil {
		return nil, fmt.Errorf("parse key derivation: %w", err)
	}
	if kdf.Iterations < 1 || kdf.Iterations > maxIterations {
		return nil, fmt.Errorf("parse key derivation: %d iterations", kdf.Iterations)
	}
	var iv []byte
	if _, err := asn1.Unmarshal(scheme.Cipher.Parameters.FullBytes, &iv); err != nil {
		return nil, fmt.Errorf("parse initial vector: %w", err)
	}
	block, err := newCipher(scheme.Cipher.Algorithm, kdf, password)
	if err != nil {
		return nil, err
	}
	return decryptCBC(block, iv, key.Data)
}

func newCipher(algorithm asn1.ObjectIdentifier, kdf pbkdf2Params, password string) (cipher.Block, error) {
	size, create := 0, aes.NewCipher
	switch {
	case algorithm.Equal(oidAES128CBC):
		size = 16
	case algorithm.Equal(oidAES192CBC):
		size = 24
	case algorithm.Equal(oidAES256CBC):
		size = 32
	case algorithm.Equal(oidDESEDE3CBC):
		size, create = 24, des.NewTripleDESCipher
	default:
		return nil, fmt.Errorf("cipher %s is not supported, want AES in CBC mode", algorithm)
	}
	var prf func() hash.Hash
	switch {
	case kdf.PRF.Algorithm == nil || kdf.PRF.Algorithm.Equal(oidHMACSHA1):
		prf = sha1.New
	case kdf.PRF.Algorithm.Equal(oidHMACSHA256):
		prf = sha256.New
	case kdf.PRF.Algorithm.Equal(oidHMACSHA512):
		prf = sha512.New
	default:
		return nil, fmt.Errorf("key derivation with %s is not supported", kdf.PRF.Algorithm)
	}
	secret, err := pbkdf2.Key(prf, password, kdf.Salt, kdf.Iterations, size)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	return create(secret)
}

var errPassword = errors.New("decrypt: the password does not fit, or is missing")

func decryptCBC(block cipher.Block, iv, data []byte) ([]byte, error) {
	size := block.BlockSize()
	if len(iv) != size || len(data) == 0 || len(data)%size != 0 {
		return nil, errors.New("decrypt: the data is damaged")
	}
	plain := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, data)
	padding := int(plain[len(plain)-1])
	if padding < 1 || padding > size {
		return nil, errPassword
	}
	for _, b := range plain[len(plain)-padding:] {
		if int(b) != padding {
			return nil, errPassword
		}
	}
	return plain[:len(plain)-padding], nil
}
