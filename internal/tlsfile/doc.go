// Package tlsfile reads certificates and keys from files, again when the files change, so that a certificate that was
// renewed is used without a restart.
package tlsfile
