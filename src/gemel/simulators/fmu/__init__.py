"""Other people's models, as the standard FMI packs them, each run in processes of its own."""
