package rest

import "context"

// Start serves the API of cfg over plain HTTP at listen (HOST:PORT) until Shutdown: NewHandler, Listen and Serve in one, for those who need
// no certificates and have nothing to do in between.
func Start(ctx context.Context, cfg Config, listen string) (*Server, error) {
	handler, err := NewHandler(cfg)
	if err != nil {
		return nil, err
	}
	s, err := Listen(ctx, ServerConfig{Listen: listen, Handler: handler, Logger: cfg.Logger})
	if err != nil {
		return nil, err
	}
	s.served = make(chan error, 1)
	go func() { s.served <- s.Serve(); close(s.served) }() // Shutdown waits for it
	return s, nil
}
