// Package wire turns a configuration into the parts that it names. The agent and the operator's tool share it, so that
// both reach the same store in the same way.
package wire
