"""Parts that the Compare and Sweeps pages share: run, show, measure and reopen a study."""
