package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/internal/version"
)

// rootCommand is the command line. environ is the environment that configuration is taken from.
func rootCommand(out, errOut io.Writer, environ []string) *cobra.Command {
	var validate, ignorePorts bool
	var how options
	root := &cobra.Command{
		Use:   "tanist [FILE]",
		Short: "Keep a PostgreSQL server in its cluster",
		Long: "Runs the agent with a configuration file, or a folder of them, as Patroni does. Without FILE the environment is\n" +
			"the configuration (PATRONI_CONFIGURATION, or the PATRONI_* variables).",
		Version:       version.Release + " (speaks Patroni " + version.Patroni + ")",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			from := config.Options{Environ: environ}
			if len(args) > 0 {
				from.Path = args[0]
			}
			if validate {
				return validateConfig(cmd.ErrOrStderr(), from, !ignorePorts)
			}
			return runAgent(cmd.Context(), from, how, cmd.ErrOrStderr())
		},
	}
	root.SetOut(out)
	root.SetErr(errOut)
	root.SetVersionTemplate("tanist {{.Version}}\n")
	root.Flags().BoolVar(&validate, "validate-config", false, "check the configuration and exit")
	root.Flags().BoolVarP(&ignorePorts, "ignore-listen-port", "i", false, "with --validate-config: do not mind ports that are in use")
	root.Flags().BoolVar(&how.unfenced, "unfenced", false, "run without the guard process: if the agent dies or hangs, its server stays writable")
	root.Flags().StringVar(&how.record, "flight-record", "", "append what the agent is told and decides to this file, as JSON lines")
	root.AddCommand(versionCommand(), demoCommand(), witnessCommand(environ))
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintf(cmd.OutOrStdout(), "tanist %s\n", cmd.Root().Version)
		},
	}
}

// validateConfig says what is wrong with the configuration, all of it at once.
func validateConfig(w io.Writer, from config.Options, ports bool) error {
	cfg, warnings, err := config.Load(from)
	if cfg != nil {
		more, lacks := cfg.Validate(config.Checks{Programs: true, Files: true, Ports: ports})
		warnings, err = append(warnings, more...), joinErrors(err, lacks)
	}
	for _, warning := range warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
	return err
}
