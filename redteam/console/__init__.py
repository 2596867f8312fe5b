"""What the commands print and which exit status they end with; joins the run and its reports."""
